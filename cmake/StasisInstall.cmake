# What `cmake --install` puts where, apart from the libraries, their headers, the programs and the
# guests, which their own folders install: the CMake package, the licence and the documents.
include(CMakePackageConfigHelpers)

set(stasis_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/stasis)
set(stasis_guests_install_dir ${CMAKE_INSTALL_DATADIR}/stasis/guests)

configure_package_config_file(cmake/stasisConfig.cmake.in stasisConfig.cmake
  INSTALL_DESTINATION ${stasis_package_dir} PATH_VARS stasis_guests_install_dir)
# Until 1.0 a minor version may change the interface.
write_basic_package_version_file(stasisConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/stasisConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/stasisConfigVersion.cmake
        DESTINATION ${stasis_package_dir})
install(EXPORT stasisTargets NAMESPACE stasis:: DESTINATION ${stasis_package_dir})

install(FILES LICENSE NOTICE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
