# stasis_guest(NAME SOURCES... [FOLDER where] [NO_RUNTIME]): builds one bare guest as target guest_NAME,
# into the folder where guests are found by name unless told otherwise.
#
# A guest is not a host program: it must not see the host's flags (sanitizers, -O0, coverage, a user's
# CXXFLAGS), so the compiler is called by custom commands and with these flags only.
set(STASIS_GUEST_COMPILE_FLAGS
  -std=c++20 -O2 -g -ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics
  -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-pic -fno-strict-aliasing
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}/= -ffunction-sections -fdata-sections
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  $<$<BOOL:${STASIS_WERROR}>:-Werror> -I${PROJECT_SOURCE_DIR}
  CACHE INTERNAL "Flags of bare guests")
set(STASIS_GUEST_LINK_FLAGS
  -nostdlib -static -no-pie -Wl,-T,${PROJECT_SOURCE_DIR}/guests/runtime/guest.ld -Wl,--build-id=none
  -Wl,--gc-sections -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--fatal-warnings
  CACHE INTERNAL "Link flags of bare guests")

# Compiles `source` (relative to the caller's folder) and appends the object to the list `result`.
function(stasis_guest_object source result)
  cmake_path(ABSOLUTE_PATH source OUTPUT_VARIABLE input)
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR ${input} is_ours)
  set(base ${PROJECT_SOURCE_DIR})
  if(NOT is_ours)
    set(base ${PROJECT_BINARY_DIR})
  endif()
  cmake_path(RELATIVE_PATH input BASE_DIRECTORY ${base} OUTPUT_VARIABLE relative)
  set(object ${PROJECT_BINARY_DIR}/guests/objects/${relative}.o)
  cmake_path(GET object PARENT_PATH folder)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER} ${STASIS_GUEST_COMPILE_FLAGS} -MD -MF ${object}.d -MT ${object}
            -c ${input} -o ${object}
    DEPENDS ${input} DEPFILE ${object}.d COMMENT "Guest object ${relative}" VERBATIM)
  set(${result} ${${result}} ${object} PARENT_SCOPE)
endfunction()

function(stasis_guest name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_RUNTIME" "FOLDER" "SOURCES")
  if(NOT arg_FOLDER)
    set(arg_FOLDER ${STASIS_GUEST_BUILD_DIR})
  endif()
  file(MAKE_DIRECTORY ${arg_FOLDER})
  set(objects)
  foreach(source ${arg_SOURCES})
    stasis_guest_object(${source} objects)
  endforeach()
  if(NOT arg_NO_RUNTIME)
    list(APPEND objects ${STASIS_GUEST_RUNTIME})
  endif()
  set(script ${PROJECT_SOURCE_DIR}/guests/runtime/guest.ld)
  set(output ${arg_FOLDER}/${name})
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_CXX_COMPILER} ${STASIS_GUEST_LINK_FLAGS} ${objects} -o ${output}
    DEPENDS ${objects} ${script} COMMENT "Guest ${name}" VERBATIM)
  add_custom_target(guest_${name} ALL DEPENDS ${output})
endfunction()
