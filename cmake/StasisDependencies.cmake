# Every library from the distribution; nothing is downloaded. The packages' names are in
# scripts/packages.
find_package(Threads REQUIRED)
find_package(CapnProto CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(benchmark CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4>=1.9)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)

# Finding, mapping and relocating libraries takes half of a process that restores a snapshot up to where it
# begins: the program of a release is static, at fixed addresses.
option(STASIS_STATIC_PROGRAM "Link the program stasis statically (GNU linker, glibc)" OFF)
if(STASIS_STATIC_PROGRAM)
  foreach(name capnp kj lz4 xxhash)
    find_library(STASIS_ARCHIVE_${name} lib${name}.a REQUIRED)
  endforeach()
  foreach(name capnp kj)
    set_target_properties(CapnProto::${name} PROPERTIES IMPORTED_LOCATION ${STASIS_ARCHIVE_${name}})
  endforeach()
  set_target_properties(PkgConfig::LZ4 PROPERTIES INTERFACE_LINK_LIBRARIES ${STASIS_ARCHIVE_lz4})
  set_target_properties(PkgConfig::XXHASH PROPERTIES INTERFACE_LINK_LIBRARIES ${STASIS_ARCHIVE_xxhash})
  # Debian has no libfmt.a: this one stands in for the shared library, wherever that is asked for.
  add_library(stasis_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_archive.cc)
  target_include_directories(stasis_fmt SYSTEM PRIVATE
    $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
  set_target_properties(stasis_fmt PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  add_dependencies(fmt::fmt stasis_fmt)
  get_target_property(stasis_fmt_configurations fmt::fmt IMPORTED_CONFIGURATIONS)
  foreach(configuration ${stasis_fmt_configurations})
    set_target_properties(fmt::fmt PROPERTIES
      IMPORTED_LOCATION_${configuration} ${PROJECT_BINARY_DIR}/libstasis_fmt.a)
  endforeach()
endif()
