"""From run folders to a page that a person can read: no net, no account, one file."""
