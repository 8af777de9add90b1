# libregroup.so.0: every room of REGROUP_LIBRARY_FOLDERS in one shared library, from which only names of the public API
# leave (hidden visibility, REGROUP_API, and libregroup.map for what templates of other libraries would leak).
# Programs link regroup::regroup and include "regroup/...h", in this build as outside of it.
get_property(rooms GLOBAL PROPERTY REGROUP_LIBRARY_ROOMS)
list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE room_objects)
add_library(regroup_shared SHARED ${room_objects})
add_library(regroup::regroup ALIAS regroup_shared)
target_link_libraries(regroup_shared PRIVATE rg_options ${rooms})
set_target_properties(regroup_shared PROPERTIES
  OUTPUT_NAME regroup
  EXPORT_NAME regroup
  VERSION ${PROJECT_VERSION}
  SOVERSION 0
  LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/libregroup.map)
target_link_options(regroup_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/libregroup.map)
if(NOT REGROUP_SANITIZE)  # a sanitizer's runtime is the program's
  target_link_options(regroup_shared PRIVATE -Wl,--no-undefined)
endif()
target_compile_features(regroup_shared INTERFACE cxx_std_20)
target_include_directories(regroup_shared INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/runtime/api>
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
  $<INSTALL_INTERFACE:include>)
