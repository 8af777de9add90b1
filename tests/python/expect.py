"""For the functions that conftest.forked() runs in ranks."""


def raises(kind, why, call):
    """`call` must raise `kind`, with `why` in what it says."""
    try:
        call()
    except kind as e:
        assert why in str(e), str(e)
    else:
        raise AssertionError("no exception: " + why)
