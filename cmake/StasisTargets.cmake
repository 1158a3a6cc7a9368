# One place for compile flags. Nothing here touches CMAKE_CXX_FLAGS: flags belong to targets.
add_library(stasis_build_flags INTERFACE)
target_compile_options(stasis_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wundef -Wformat=2 -Wimplicit-fallthrough
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op -Wuseless-cast>
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wthread-safety>
  # With sanitizers and -O1 (below) gcc 12 takes std::optional's empty storage for a mistake; release asks.
  $<$<AND:$<CONFIG:Debug>,$<CXX_COMPILER_ID:GNU>>:-Wno-maybe-uninitialized>
  $<$<BOOL:${STASIS_WERROR}>:-Werror>)
if(STASIS_SANITIZE)  # An if(), not a generator expression: the value contains commas.
  target_compile_options(stasis_build_flags INTERFACE
    -fsanitize=${STASIS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(stasis_build_flags INTERFACE -fsanitize=${STASIS_SANITIZE})
endif()
if(STASIS_BUILD_FUZZERS)  # Instrument the libraries too, or the fuzzer only sees its own harness.
  target_compile_options(stasis_build_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# stasis_library(NAME HEADERS... SOURCES... DEPS... [PRIVATE_DEPS...])
# Declares stasis_<name>, alias stasis::<name>, installs and exports it.
function(stasis_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;SOURCES;DEPS;PRIVATE_DEPS")
  list(TRANSFORM arg_HEADERS PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  add_library(stasis_${name} STATIC ${arg_SOURCES})
  add_library(stasis::${name} ALIAS stasis_${name})
  set_target_properties(stasis_${name} PROPERTIES EXPORT_NAME ${name})
  target_sources(stasis_${name} PUBLIC FILE_SET HEADERS
    BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS})
  target_compile_features(stasis_${name} PUBLIC cxx_std_20)
  # Libraries have no global constructors. (Not in stasis_build_flags: GoogleTest's TEST() is one, and a
  # target's own -Wno-x comes *before* the -Wx it inherits, so it could not opt out.)
  target_compile_options(stasis_${name} PRIVATE $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wglobal-constructors>)
  # -O0 keeps the processor busy three times as long in the tests of the preset dev; these can still be stepped
  # through. Tests and programs stay as written.
  target_compile_options(stasis_${name} PRIVATE $<$<AND:$<CONFIG:Debug>,$<CXX_COMPILER_ID:GNU>>:-O1>)
  # BUILD_INTERFACE keeps the private flag target out of the export set.
  target_link_libraries(stasis_${name}
    PUBLIC ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS} $<BUILD_INTERFACE:stasis_build_flags>)
  install(TARGETS stasis_${name} EXPORT stasisTargets
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/stasis)
endfunction()
