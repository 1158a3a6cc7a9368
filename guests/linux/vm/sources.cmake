# The VM's half of Linux guests: part of stasis::guests.
set(vm_headers byte_codec.h frame_allocator.h guest_address_space.h guest_ram.h layout.h page_tables.h
    process.h process_cpu.h program_file.h program_image.h program_loader.h shared_file.h system_tables.h vdso/time_page.h vdso_image.h vma_map.h)
set(vm_sources address_space_fault.cc address_space_map.cc address_space_pages.cc
    address_space_remap.cc address_space_state.cc frame_allocator.cc guest_ram.cc page_tables.cc
    process.cc process_state.cc program_file.cc program_image.cc program_loader.cc shared_file.cc system_tables.cc
    vdso_image.cc vma_map.cc)
list(TRANSFORM vm_headers PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/")
list(TRANSFORM vm_sources PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/")
target_sources(stasis_guests PRIVATE ${vm_sources}
  PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${vm_headers})

# The vDSO of x86-64 guests: a shared object of its own, whose file is embedded. None of our flags.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(vdso_source ${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/vdso)
  set(vdso_file ${CMAKE_CURRENT_BINARY_DIR}/stasis-vdso.so)
  add_custom_command(OUTPUT ${vdso_file}
    COMMAND ${CMAKE_C_COMPILER} -O2 -fPIC -ffreestanding -fno-stack-protector -fcf-protection=none
      -mgeneral-regs-only -Wall -Wextra -Werror -shared -nostdlib -s -Wl,-T,${vdso_source}/vdso.ld
      -Wl,-soname,linux-vdso.so.1 -Wl,--hash-style=both -Wl,--build-id=none -Wl,--eh-frame-hdr
      -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -o ${vdso_file} ${vdso_source}/vdso.c
    DEPENDS ${vdso_source}/vdso.c ${vdso_source}/vdso.ld ${vdso_source}/time_page.h
    COMMENT "Building the vDSO of Linux guests" VERBATIM)
  set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/vdso_image.cc PROPERTIES
    OBJECT_DEPENDS ${vdso_file} COMPILE_DEFINITIONS "STASIS_VDSO_FILE=\"${vdso_file}\"")
endif()
