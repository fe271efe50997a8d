"""What a kill can leave of a bank's folder, and what the next command clears away."""

import pytest

from icl.training.bank_folders import MEMBERS, bank_folder, clear, remove


@pytest.mark.parametrize("left", [".banks", ".gone-abc/checkpoint", ".banks/abc"])
def test_the_next_command_clears_what_a_kill_left(left, tmp_path):
    (tmp_path / left).mkdir(parents=True)
    if left == ".banks/abc":
        (tmp_path / left / MEMBERS).write_text("[]")  # no job is named: it may be anybody's, and stays
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ([".banks"] if left == ".banks/abc" else [])


def test_a_removed_bank_leaves_nothing(tmp_path):
    folder = bank_folder(tmp_path, ["run/a"])
    folder.mkdir(parents=True)
    remove(folder)
    assert list(tmp_path.iterdir()) == []
