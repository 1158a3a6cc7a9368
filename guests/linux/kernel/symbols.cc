#include "guests/linux/kernel/symbols.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "core/address.h"
#include "guests/elf_format.h"

namespace stasis::linux_guest {
namespace {

namespace elf = guests::elf;

constexpr std::uint64_t kHeadersMax = 4096;  // Of programs, and of sections.
constexpr std::uint64_t kSymbolsMax = std::uint64_t{1} << 21U;
constexpr std::uint64_t kSymbolsAtOnce = 2048;

// All of the `out.size()` bytes at `offset`, or false.
bool read_whole(const MappedFile& file, std::uint64_t offset, std::span<std::byte> out) {
  return out.empty() || (fits(offset, out.size(), file.size_bytes()) &&
                         file.read_at(offset, out) == static_cast<SysResult>(out.size()));
}

template <typename T>
std::vector<T> read_table(const MappedFile& file, std::uint64_t offset, std::uint64_t count) {
  std::vector<T> table(std::min(count, kHeadersMax));
  if (!read_whole(file, offset, std::as_writable_bytes(std::span(table)))) {
    table.clear();
  }
  return table;
}

std::optional<elf::FileHeader> read_header(const MappedFile& file) {
  elf::FileHeader header{};
  if (!read_whole(file, 0, std::as_writable_bytes(std::span(&header, 1))) ||
      std::memcmp(header.ident.data(), elf::kMagic.data(), elf::kMagic.size()) != 0 ||
      header.ident[4] != elf::kClass64 || header.ident[5] != elf::kLittleEndian ||
      header.program_entry_bytes != sizeof(elf::ProgramHeader) ||
      header.section_entry_bytes != sizeof(elf::SectionHeader)) {
    return std::nullopt;
  }
  return header;
}

// Where the file wants the byte at `file_offset` in memory.
std::optional<std::uint64_t> address_of(const MappedFile& file, const elf::FileHeader& header,
                                        std::uint64_t file_offset) {
  for (const elf::ProgramHeader& program :
       read_table<elf::ProgramHeader>(file, header.program_offset, header.program_count)) {
    if (program.type == elf::kLoad && file_offset >= program.offset &&
        file_offset - program.offset < program.file_bytes) {
      return program.virtual_address + (file_offset - program.offset);  // May wrap: no harm.
    }
  }
  return std::nullopt;
}

bool covers(const elf::Symbol& symbol, std::uint64_t address) {
  const auto type = static_cast<std::uint8_t>(symbol.info & 0xfU);
  return (type == elf::kFunction || type == elf::kIndirectFunction) && symbol.section != 0 &&
         address >= symbol.value && address - symbol.value < symbol.bytes;
}

// The last function to begin at or before `address`, of those that reach over it.
std::optional<elf::Symbol> find_symbol(const MappedFile& file, const elf::SectionHeader& table,
                                       std::uint64_t address) {
  if (table.entry_bytes != sizeof(elf::Symbol) ||
      !fits(table.offset, table.bytes, file.size_bytes())) {
    return std::nullopt;
  }
  const std::uint64_t count = std::min(table.bytes / sizeof(elf::Symbol), kSymbolsMax);
  std::optional<elf::Symbol> best;
  std::vector<elf::Symbol> piece;
  for (std::uint64_t done = 0; done < count; done += piece.size()) {
    piece.resize(std::min(count - done, kSymbolsAtOnce));
    if (!read_whole(file, table.offset + (done * sizeof(elf::Symbol)),
                    std::as_writable_bytes(std::span(piece)))) {
      return best;
    }
    for (const elf::Symbol& symbol : piece) {
      if (covers(symbol, address) && (!best || symbol.value > best->value)) {
        best = symbol;
      }
    }
  }
  return best;
}

// Empty if the name lies outside of its table.
std::string name_in(const MappedFile& file, const elf::SectionHeader& strings, std::uint64_t at) {
  if (strings.type != elf::kStringTable || at >= strings.bytes ||
      !fits(strings.offset, strings.bytes, file.size_bytes())) {
    return {};
  }
  std::array<char, kFunctionNameMax> bytes{};
  const std::uint64_t size = std::min<std::uint64_t>(bytes.size(), strings.bytes - at);
  if (!read_whole(file, strings.offset + at,
                  std::as_writable_bytes(std::span(bytes).first(size)))) {
    return {};
  }
  const auto shown = std::span(bytes).first(size);
  std::string name(shown.begin(), std::ranges::find(shown, char{}));
  std::ranges::replace_if(
      name, [](char c) { return c <= ' ' || c > '~'; }, '?');
  return name;
}

}  // namespace

std::optional<FunctionPlace> find_function(const MappedFile& file, std::uint64_t file_offset) {
  const std::optional<elf::FileHeader> header = read_header(file);
  const auto address = header ? address_of(file, *header, file_offset) : std::nullopt;
  if (!address) {
    return std::nullopt;
  }
  const auto sections =
      read_table<elf::SectionHeader>(file, header->section_offset, header->section_count);
  for (const std::uint32_t type : {elf::kSymbolTable, elf::kDynamicSymbols}) {
    // A file has one of each; a second one would only cost time.
    const auto table = std::ranges::find(sections, type, &elf::SectionHeader::type);
    if (table == sections.end() || table->link >= sections.size()) {
      continue;
    }
    if (const auto symbol = find_symbol(file, *table, *address)) {
      std::string name = name_in(file, sections[table->link], symbol->name);
      if (!name.empty()) {
        return FunctionPlace{std::move(name), *address - symbol->value};
      }
    }
  }
  return std::nullopt;
}

}  // namespace stasis::linux_guest
