// Builds small ELF files, right or wrong in any field, for the tests of the parser and the loader.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "guests/abi.h"

namespace stasis::guests::test {

// A static x86-64 executable with two segments: code at 4 MiB, and data with some bss behind it.
// Change the public members, then build().
struct ElfBuilder {
  Elf64_Ehdr header = {};
  std::vector<Elf64_Phdr> programs;
  std::vector<std::byte> payload = std::vector<std::byte>(kPayloadBytes, std::byte{0xCC});

  static constexpr std::uint64_t kPayloadOffset = 0x200, kPayloadBytes = 0x100;
  static constexpr std::uint64_t kCode = abi::kImageAddress, kData = abi::kImageAddress + 0x1000;

  ElfBuilder() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = kCode + 4;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    programs.push_back(load(PF_R | PF_X, kPayloadOffset, kCode, 0x80, 0x80));
    programs.push_back(load(PF_R | PF_W, kPayloadOffset + 0x80, kData, 0x80, 0x2000));
    for (std::size_t i = 0; i < payload.size(); ++i) {
      payload[i] = static_cast<std::byte>(i + 1);
    }
  }

  static Elf64_Phdr load(std::uint32_t flags, std::uint64_t offset, std::uint64_t address,
                         std::uint64_t file_bytes, std::uint64_t memory_bytes) {
    Elf64_Phdr program = {};
    program.p_type = PT_LOAD;
    program.p_flags = flags;
    program.p_offset = offset;
    program.p_vaddr = address;
    program.p_paddr = address;
    program.p_filesz = file_bytes;
    program.p_memsz = memory_bytes;
    program.p_align = 0x1000;
    return program;
  }

  // e_phnum is the number of `programs` unless it was set.
  [[nodiscard]] std::vector<std::byte> build() const {
    Elf64_Ehdr written = header;
    if (written.e_phnum == 0) {
      written.e_phnum = static_cast<Elf64_Half>(programs.size());
    }
    std::vector<std::byte> file(kPayloadOffset + payload.size());
    std::memcpy(file.data(), &written, sizeof(written));
    std::memcpy(file.data() + sizeof(written), programs.data(),
                programs.size() * sizeof(Elf64_Phdr));
    std::memcpy(file.data() + kPayloadOffset, payload.data(), payload.size());
    return file;
  }
};

}  // namespace stasis::guests::test
