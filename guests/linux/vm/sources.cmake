# The VM's half of Linux guests: part of stasis::guests.
set(vm_headers byte_codec.h frame_allocator.h guest_address_space.h guest_ram.h layout.h page_tables.h
    process.h process_cpu.h program_file.h program_image.h program_loader.h system_tables.h vma_map.h)
set(vm_sources address_space_fault.cc address_space_map.cc address_space_pages.cc
    address_space_remap.cc address_space_state.cc frame_allocator.cc guest_ram.cc page_tables.cc
    process.cc process_state.cc program_file.cc program_image.cc program_loader.cc system_tables.cc
    vma_map.cc)
list(TRANSFORM vm_headers PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/")
list(TRANSFORM vm_sources PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/linux/vm/")
target_sources(stasis_guests PRIVATE ${vm_sources}
  PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${vm_headers})
