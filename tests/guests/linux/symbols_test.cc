// Names of functions out of ELF files: crafted ones, damaged ones, and this test's own.
#include "guests/linux/kernel/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

extern "C" __attribute__((noinline, used)) int stasis_symbols_test_marker(int x) {
  return x + 1;
}

namespace stasis::linux_guest {
namespace {

class BytesFile final : public MappedFile {
 public:
  explicit BytesFile(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::string path() const override { return "/test"; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) {
      return 0;
    }
    const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, count);
    return static_cast<SysResult>(count);
  }
  [[nodiscard]] std::uint64_t snapshot_id() const override { return 1; }

 private:
  std::vector<std::byte> bytes_;
};

// One segment: file offset 0x1000 at address 0x401000. Functions outer (0x401000, 0x100 bytes) and
// inner (0x401040, 0x10 bytes) in .symtab, exported (0x401200, 0x20) in .dynsym.
struct SymbolFile {
  Elf64_Ehdr header = {};
  Elf64_Phdr program = {};
  std::array<Elf64_Shdr, 5> sections = {};
  std::array<Elf64_Sym, 3> symbols = {};
  std::array<Elf64_Sym, 1> dynamic = {};
  std::string strings = std::string("\0outer\0inner\0a\x01 \xff\0exported\0", 27);

  static Elf64_Sym function(Elf64_Word name, Elf64_Addr value, Elf64_Xword size) {
    return {name, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, value, size};
  }
  SymbolFile() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(program);
    header.e_phnum = 1;
    header.e_shoff = header.e_phoff + sizeof(program);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<Elf64_Half>(sections.size());
    program = {PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x401000, 0x1000, 0x1000, 0x1000};
    symbols = {function(1, 0x401000, 0x100), function(7, 0x401040, 0x10),
               function(13, 0x401300, 0x10)};
    dynamic = {function(18, 0x401200, 0x20)};
    const std::uint64_t at = header.e_shoff + sizeof(sections);
    sections[1] = {0, SHT_SYMTAB, 0, 0, at, sizeof(symbols), 3, 0, 8, sizeof(Elf64_Sym)};
    sections[2] = {0, SHT_DYNSYM,       0, 0, at + sizeof(symbols), sizeof(dynamic), 3, 0,
                   8, sizeof(Elf64_Sym)};
    sections[3] = {0, SHT_STRTAB, 0, 0, at + sizeof(symbols) + sizeof(dynamic), strings.size(),
                   0, 0,          1, 0};
  }
  [[nodiscard]] std::vector<std::byte> build() const {
    std::vector<std::byte> bytes;
    const auto add = [&bytes](const void* from, std::size_t size) {
      const auto* const begin = static_cast<const std::byte*>(from);
      bytes.insert(bytes.end(), begin, begin + size);
    };
    add(&header, sizeof(header));
    add(&program, sizeof(program));
    add(sections.data(), sizeof(sections));
    add(symbols.data(), sizeof(symbols));
    add(dynamic.data(), sizeof(dynamic));
    add(strings.data(), strings.size());
    return bytes;
  }
};

std::string found(const std::vector<std::byte>& bytes, std::uint64_t offset) {
  const auto place = find_function(BytesFile(bytes), offset);
  return place ? place->name + "+" + std::to_string(place->offset) : "(none)";
}

TEST(Symbols, AreFoundByFileOffsetWithTheOffsetIntoTheFunction) {
  const std::vector<std::byte> bytes = SymbolFile().build();
  EXPECT_EQ(found(bytes, 0x1000), "outer+0");
  EXPECT_EQ(found(bytes, 0x1012), "outer+18");
  EXPECT_EQ(found(bytes, 0x10ff), "outer+255");
  EXPECT_EQ(found(bytes, 0x1100), "(none)") << "behind the function's end";
  EXPECT_EQ(found(bytes, 0xfff), "(none)") << "before the segment";
  EXPECT_EQ(found(bytes, 0x2000), "(none)") << "behind the segment";
}

TEST(Symbols, TheInnermostFunctionIsNamed) {
  const std::vector<std::byte> bytes = SymbolFile().build();
  EXPECT_EQ(found(bytes, 0x1040), "inner+0");
  EXPECT_EQ(found(bytes, 0x1050), "outer+80");
}

TEST(Symbols, TheDynamicTableServesWhereTheOtherNamesNothing) {
  EXPECT_EQ(found(SymbolFile().build(), 0x1203), "exported+3");
  SymbolFile stripped;
  stripped.sections[1].sh_type = SHT_NULL;
  EXPECT_EQ(found(stripped.build(), 0x1203), "exported+3");
  EXPECT_EQ(found(stripped.build(), 0x1000), "(none)");
}

TEST(Symbols, OnlyPrintableCharactersOfANameAreShown) {
  EXPECT_EQ(found(SymbolFile().build(), 0x1300), "a???+0");
}

TEST(Symbols, ALongNameIsCut) {
  SymbolFile file;
  file.symbols[0].st_name = static_cast<Elf64_Word>(file.strings.size());
  file.strings += std::string(5000, 'n');  // And no zero at its end.
  file.sections[3].sh_size = file.strings.size();
  EXPECT_EQ(found(file.build(), 0x1000), std::string(kFunctionNameMax, 'n') + "+0");
}

TEST(Symbols, DataAndUndefinedSymbolsAreNoFunctions) {
  SymbolFile file;
  file.symbols[0].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
  file.symbols[1].st_shndx = SHN_UNDEF;
  EXPECT_EQ(found(file.build(), 0x1000), "(none)");
  EXPECT_EQ(found(file.build(), 0x1040), "(none)");
}

TEST(Symbols, LiesAboutSizesAndPlacesNameNothing) {
  const auto with = [](auto change) {
    SymbolFile file;
    change(file);
    return found(file.build(), 0x1000);
  };
  EXPECT_EQ(with([](SymbolFile& f) { f.header.e_shoff = UINT64_MAX - 8; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.header.e_phoff = UINT64_MAX; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.header.e_shnum = 0xffff; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.header.e_shentsize = 63; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.header.e_ident[EI_CLASS] = ELFCLASS32; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.sections[1].sh_size = UINT64_MAX; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.sections[1].sh_offset = UINT64_MAX; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.sections[1].sh_entsize = 0; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.sections[1].sh_link = 99; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.sections[3].sh_size = UINT64_MAX; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.symbols[0].st_name = UINT32_MAX; }), "(none)");
  EXPECT_EQ(with([](SymbolFile& f) { f.symbols[0].st_value = UINT64_MAX; }), "(none)");
}

TEST(Symbols, NoDamagedByteAndNoTruncationLeadsAstray) {
  const std::vector<std::byte> whole = SymbolFile().build();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_EQ(found(cut, 0x1203), "(none)") << i;  // Its name is the last thing in the file.
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
      std::vector<std::byte> damaged = whole;
      damaged[i] = static_cast<std::byte>(value);
      const auto place = find_function(BytesFile(damaged), 0x1012);
      EXPECT_LE(place ? place->name.size() : 0, kFunctionNameMax);
    }
  }
}

// File and offset of an address of this process.
struct Origin {
  std::string path;
  std::uint64_t offset = 0;
};
Origin origin_of(std::uintptr_t address) {
  struct Search {
    std::uintptr_t address;
    Origin found;
  } search{address, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* data) {
        auto* const wanted = static_cast<Search*>(data);
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& header = object->dlpi_phdr[i];
          const std::uintptr_t begin = object->dlpi_addr + header.p_vaddr;
          if (header.p_type == PT_LOAD && wanted->address >= begin &&
              wanted->address - begin < header.p_filesz) {
            const bool is_program = *object->dlpi_name == '\0';
            wanted->found = {is_program ? "/proc/self/exe" : object->dlpi_name,
                             wanted->address - begin + header.p_offset};
          }
        }
        return 0;
      },
      &search);
  return search.found;
}

std::string found_in_this_process(std::uintptr_t address) {
  const Origin origin = origin_of(address);
  std::ifstream stream(origin.path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_FALSE(content.empty()) << origin.path;
  const auto bytes = std::as_bytes(std::span(content));
  return found({bytes.begin(), bytes.end()}, origin.offset);
}

TEST(Symbols, OfARealProgramAreFound) {
  const auto address = reinterpret_cast<std::uintptr_t>(&stasis_symbols_test_marker);
  EXPECT_EQ(found_in_this_process(address + 2), "stasis_symbols_test_marker+2");
}

TEST(Symbols, OfARealLibraryWithoutASymbolTableAreFound) {
  void* const function = dlsym(RTLD_NEXT, "getsid");
  ASSERT_NE(function, nullptr);
  const std::string name = found_in_this_process(reinterpret_cast<std::uintptr_t>(function) + 1);
  EXPECT_EQ(name, "getsid+1");
}

}  // namespace
}  // namespace stasis::linux_guest
