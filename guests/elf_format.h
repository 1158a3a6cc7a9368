// The parts of the ELF64 format that the parsers of guest programs read. Own definitions: <elf.h>
// does not exist on macOS. Values are as the file has them, little-endian, and not to be believed.
// Source: System V ABI, chapters 4 (object files) and 5 (program loading); ELF-64 object file
// format 1.5.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace stasis::guests::elf {

// Elf64_Ehdr.
struct FileHeader {
  std::array<std::uint8_t, 16> ident;
  std::uint16_t type, machine;
  std::uint32_t version;
  std::uint64_t entry, program_offset, section_offset;
  std::uint32_t flags;
  std::uint16_t header_bytes, program_entry_bytes, program_count;
  std::uint16_t section_entry_bytes, section_count, section_names;
};
static_assert(sizeof(FileHeader) == 64);

// Elf64_Phdr.
struct ProgramHeader {
  std::uint32_t type, flags;
  std::uint64_t offset, virtual_address, physical_address, file_bytes, memory_bytes, alignment;
};
static_assert(sizeof(ProgramHeader) == 56);

// Elf64_Shdr.
struct SectionHeader {
  std::uint32_t name, type;
  std::uint64_t flags, address, offset, bytes;
  std::uint32_t link, info;
  std::uint64_t alignment, entry_bytes;
};
static_assert(sizeof(SectionHeader) == 64);

// Elf64_Sym.
struct Symbol {
  std::uint32_t name;
  std::uint8_t info, other;
  std::uint16_t section;
  std::uint64_t value, bytes;
};
static_assert(sizeof(Symbol) == 24);

inline constexpr std::string_view kMagic =
    "\x7f"
    "ELF";
// e_ident[4], [5] and [6].
inline constexpr std::uint8_t kClass64 = 2, kLittleEndian = 1, kCurrentVersion = 1;
// e_type.
inline constexpr std::uint16_t kTypeExecutable = 2, kTypeShared = 3;
// e_machine.
inline constexpr std::uint16_t kMachineX86 = 62, kMachineArm64 = 183;
// p_type.
inline constexpr std::uint32_t kLoad = 1, kDynamic = 2, kInterpreter = 3, kHeaders = 6,
                               kThreadLocal = 7, kGnuStack = 0x6474e551;
// p_flags.
inline constexpr std::uint32_t kFlagExecute = 1, kFlagWrite = 2, kFlagRead = 4;

// sh_type.
inline constexpr std::uint32_t kSymbolTable = 2, kStringTable = 3, kDynamicSymbols = 11;
// The lower half of st_info.
inline constexpr std::uint8_t kFunction = 2, kIndirectFunction = 10;

}  // namespace stasis::guests::elf
