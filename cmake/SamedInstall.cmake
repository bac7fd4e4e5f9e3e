# cmake --install: headers, package files and samed_instantiate(). The export holds no binary, so one install serves every
# architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/samed DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h" PATTERN "*.inc" PATTERN "*.cuh")

set(samed_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/samed)
install(TARGETS samed EXPORT samedTargets)
install(EXPORT samedTargets NAMESPACE samed:: DESTINATION ${samed_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/samedConfig.cmake.in ${PROJECT_BINARY_DIR}/samedConfig.cmake
  INSTALL_DESTINATION ${samed_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/samedConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  ${PROJECT_BINARY_DIR}/samedConfig.cmake ${PROJECT_BINARY_DIR}/samedConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/SamedIo.cmake ${PROJECT_SOURCE_DIR}/cmake/SamedDicom.cmake ${PROJECT_SOURCE_DIR}/cmake/SamedDicomSeg.cmake
  ${PROJECT_SOURCE_DIR}/cmake/SamedHdf5.cmake ${PROJECT_SOURCE_DIR}/cmake/SamedCuda.cmake ${PROJECT_SOURCE_DIR}/cmake/SamedInstantiate.cmake
  DESTINATION ${samed_package_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/src DESTINATION ${samed_package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
