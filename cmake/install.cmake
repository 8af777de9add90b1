# `cmake --install`: public headers, libregroup, the program `regroup`, a CMake package and a pkg-config file.
# Headers of base that public headers include lie beside them (regroup/base/), found relative to the including file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(REGROUP_PUBLIC_BASE_HEADERS base/dtype.h base/ids.h base/result.h)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/regroup)

install(DIRECTORY runtime/api/regroup/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/regroup FILES_MATCHING PATTERN "*.h")
install(FILES ${REGROUP_PUBLIC_BASE_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/regroup/base)
install(TARGETS regroup_shared EXPORT regroup LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET regroup)  # the command, tools/
  # `regroup chaos` starts the worker, which lies beside it.
  set_target_properties(regroup regroup-chaos-worker PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS regroup regroup-chaos-worker RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT regroup NAMESPACE regroup:: DESTINATION ${package_dir} FILE regroupTargets.cmake)
configure_package_config_file(cmake/regroupConfig.cmake.in ${CMAKE_BINARY_DIR}/regroupConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/regroupConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/regroupConfig.cmake ${CMAKE_BINARY_DIR}/regroupConfigVersion.cmake
  DESTINATION ${package_dir})

# Relative to the .pc file, so that a moved tree still works.
file(RELATIVE_PATH REGROUP_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" REGROUP_PC_PREFIX "${REGROUP_PC_PREFIX}")
configure_file(cmake/regroup.pc.in ${CMAKE_BINARY_DIR}/regroup.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/regroup.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
