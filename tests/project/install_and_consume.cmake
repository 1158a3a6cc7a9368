# Installs BUILD_DIR into SCRATCH_DIR, builds CONSUMER_DIR against it, and runs what comes out.
cmake_minimum_required(VERSION 3.25)

set(prefix ${SCRATCH_DIR}/prefix)
file(REMOVE_RECURSE ${SCRATCH_DIR})

# The scratch folder goes whatever happens: it holds a copy of every program.
function(run description)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    file(REMOVE_RECURSE ${SCRATCH_DIR})
    message(FATAL_ERROR "${description} failed (${status}):\n${output}")
  endif()
  message(STATUS "${description}: ok")
  set(output "${output}" PARENT_SCOPE)
endfunction()

run("install" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})

foreach(wanted bin/stasis share/stasis/guests/kvstore share/doc/stasis/README.md)
  if(NOT EXISTS ${prefix}/${wanted})
    message(FATAL_ERROR "the installation lacks ${wanted}")
  endif()
endforeach()

# The compiler and sanitizers of the libraries: they must agree with the program that links them.
set(flags)
if(SANITIZE)
  set(flags "-fsanitize=${SANITIZE}")
endif()
run("configure the consumer" ${CMAKE_COMMAND} -S ${CONSUMER_DIR} -B ${SCRATCH_DIR}/build -G Ninja
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_CXX_COMPILER=${CXX_COMPILER}
  -DCMAKE_CXX_FLAGS=${flags} -DCMAKE_FIND_PACKAGE_PREFER_CONFIG=ON)
run("build the consumer" ${CMAKE_COMMAND} --build ${SCRATCH_DIR}/build)
run("run the consumer" ${SCRATCH_DIR}/build/consumer ${SCRATCH_DIR}/snapshot)
if(NOT output MATCHES "restored with the same memory")
  message(FATAL_ERROR "the consumer said: ${output}")
endif()
run("run the installed program" ${prefix}/bin/stasis --version)
# The build tree's guests must not be needed: the program finds the installed ones beside itself. Its exit
# code says whether this host can run them, which is not the question here.
execute_process(COMMAND ${prefix}/bin/stasis doctor --json RESULT_VARIABLE status OUTPUT_VARIABLE output)
if(NOT output MATCHES "\"kvstore\"")
  file(REMOVE_RECURSE ${SCRATCH_DIR})
  message(FATAL_ERROR "the installed program (exit code ${status}) does not find its guests:\n${output}")
endif()
file(REMOVE_RECURSE ${SCRATCH_DIR})
