"""How closely two computations of the same number must agree, once per dtype. Never relaxed for a test."""

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # float64, the same mathematics in another order
SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # float32
