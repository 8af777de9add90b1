# The torch backend, for the torch of the interpreter that the package is installed for. REGROUP_TORCH_BACKEND: AUTO
# takes torch where it is, ON insists, OFF leaves it out. pip's isolated builds hide the environment's packages by
# PYTHONPATH and a site of their own; `-I` looks past that, so `pip install .` finds the torch beside it.
set(REGROUP_TORCH_BACKEND AUTO CACHE STRING "torch backend: AUTO, ON or OFF")
if(REGROUP_TORCH_BACKEND STREQUAL "OFF")
  return()
endif()
foreach(way "" "-I")
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${way} -c "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s and s.origin else '')"
    OUTPUT_VARIABLE torch_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(torch_dir)
    break()
  endif()
endforeach()
if(NOT torch_dir)
  if(REGROUP_TORCH_BACKEND STREQUAL "ON")
    message(FATAL_ERROR "REGROUP_TORCH_BACKEND=ON, but ${Python_EXECUTABLE} has no torch")
  endif()
  message(STATUS "regroup: no torch for ${Python_EXECUTABLE}: the package is built without regroup.torch's backend")
  return()
endif()
file(READ ${torch_dir}/version.py torch_version)
string(REGEX MATCH "__version__ = '([^']*)'" torch_version "${torch_version}")
message(STATUS "regroup: torch backend for torch ${CMAKE_MATCH_1} in ${torch_dir}")

add_library(regroup_torch_python MODULE adapter/module.cc adapter/backend.cc adapter/work.cc
  adapter/point_to_point.cc adapter/tensors.cc adapter/reduce.cc
 adapter/gather.cc adapter/exchange.cc adapter/elastic.cc adapter/replay.cc adapter/stream.cc adapter/messages.cc)
target_include_directories(regroup_torch_python SYSTEM PRIVATE ${torch_dir}/include
  ${torch_dir}/include/torch/csrc/api/include)
target_link_directories(regroup_torch_python PRIVATE ${torch_dir}/lib)
target_link_libraries(regroup_torch_python PRIVATE rg_options regroup::regroup Python::Module torch torch_cpu c10 torch_python)
target_compile_definitions(regroup_torch_python PRIVATE USE_C10D_GLOO TORCH_EXTENSION_NAME=_c10d)
target_compile_options(regroup_torch_python PRIVATE -Wno-conversion -Wno-float-conversion)  # torch's templates
set_target_properties(regroup_torch_python PROPERTIES PREFIX "" OUTPUT_NAME _c10d SUFFIX ".${Python_SOABI}.so"
  INSTALL_RPATH "$ORIGIN/../lib" BUILD_WITH_INSTALL_RPATH ON)
add_dependencies(regroup_python regroup_torch_python)
install(TARGETS regroup_torch_python LIBRARY DESTINATION ${package}/torch COMPONENT python)
