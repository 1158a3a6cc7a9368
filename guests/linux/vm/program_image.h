// A parser for the ELF64 programs and interpreters that a Linux guest starts with. It trusts no
// byte of the file. Source: System V ABI, chapters 4 and 5; Linux' fs/binfmt_elf.c for what is
// optional.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "guests/linux/address_space.h"

namespace stasis::linux_guest::vm {

// One PT_LOAD, as the file has it. `memory_bytes` >= `file_bytes`; offset and address agree modulo
// the page size.
struct ProgramSegment {
  std::uint64_t address = 0, memory_bytes = 0;
  std::uint64_t offset = 0, file_bytes = 0;
  Protection protection = Protection::kNone;
};

// Value.
struct ProgramImage {
  bool is_position_independent = false;
  std::uint64_t entry = 0;
  std::uint64_t headers_address = 0;  // Of the program headers in memory, before relocation; or 0.
  std::uint64_t header_count = 0;
  std::uint64_t alignment = kPageBytes;    // The largest of all segments, a power of two.
  std::vector<ProgramSegment> segments;    // Not empty, ascending, disjoint; end below 2^47.
  std::optional<std::string> interpreter;  // PT_INTERP.
  Protection stack_protection = Protection::kRead | Protection::kWrite;

  [[nodiscard]] std::uint64_t begin() const;  // Page multiples.
  [[nodiscard]] std::uint64_t end() const;
};

// kCorruption, kMismatch or kIo; the message begins with the file's name and says what the file is
// instead, where that is known: a script, a 32-bit program, one for another machine.
Result<ProgramImage> read_program_image(const MappedFile& file);

}  // namespace stasis::linux_guest::vm
