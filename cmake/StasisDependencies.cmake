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

# Relocating the C++ libraries takes a third of a process that restores a snapshot up to where it begins.
# libxxhash and the C library stay shared: Debian's libxxhash.a lacks the functions that choose by CPU.
option(STASIS_STATIC_PROGRAM "Link the C++ libraries into the program stasis (GNU linker)" OFF)
if(STASIS_STATIC_PROGRAM)
  foreach(name capnp kj lz4)
    find_library(STASIS_ARCHIVE_${name} lib${name}.a REQUIRED)
  endforeach()
  foreach(name capnp kj)
    set_target_properties(CapnProto::${name} PROPERTIES IMPORTED_LOCATION ${STASIS_ARCHIVE_${name}})
  endforeach()
  set_target_properties(PkgConfig::LZ4 PROPERTIES INTERFACE_LINK_LIBRARIES ${STASIS_ARCHIVE_lz4})
endif()
