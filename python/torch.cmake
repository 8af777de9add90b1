# The torch backend, for the torch of the interpreter that the package is installed for. REGROUP_TORCH_BACKEND: AUTO
# takes torch where it is, ON insists, OFF leaves it out.
set(REGROUP_TORCH_BACKEND AUTO CACHE STRING "torch backend: AUTO, ON or OFF")
