#include "guests/elf_image.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "core/text.h"
#include "guests/elf_format.h"

namespace stasis::guests {
namespace {

using elf::FileHeader;
using elf::ProgramHeader;

constexpr std::string_view kLinkCure = "link it with -static -no-pie and guests/runtime/guest.ld";

// Makes errors that start with the file's name, and copies headers out of it.
class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  Result<ElfImage> parse() const;

 private:
  [[nodiscard]] Error error(Errc code, std::string_view message) const {
    return Error{.code = code, .message = std::string(name_) + ": " + std::string(message)};
  }
  // The caller has checked that the bytes exist.
  template <typename T>
  [[nodiscard]] T copy(std::uint64_t offset) const {
    T value{};
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  Result<FileHeader> file_header() const;
  Result<void> check_identity(const FileHeader& header) const;
  Result<std::optional<ElfSegment>> segment(const ProgramHeader& header,
                                            const std::string& field) const;
  Result<void> sort_and_check_disjoint(std::vector<ElfSegment>& segments) const;

  std::span<const std::byte> bytes_;
  std::string_view name_;
};

Result<FileHeader> Parser::file_header() const {
  if (bytes_.size() < elf::kMagic.size() ||
      std::memcmp(bytes_.data(), elf::kMagic.data(), elf::kMagic.size()) != 0) {
    return error(Errc::kCorruption,
                 "not an ELF file (e_ident has no \\x7f ELF); give the executable of a bare guest");
  }
  if (bytes_.size() < sizeof(FileHeader)) {
    return error(Errc::kCorruption, "the ELF header ends after " + std::to_string(bytes_.size()) +
                                        " of 64 bytes; the file is truncated, build it again");
  }
  const auto header = copy<FileHeader>(0);
  STASIS_TRY(check_identity(header));
  if (header.program_entry_bytes != sizeof(ProgramHeader)) {
    return error(Errc::kCorruption, "e_phentsize is " + std::to_string(header.program_entry_bytes) +
                                        ", not 56; the file is damaged, build it again");
  }
  if (header.program_count == 0 || header.program_count > kElfSegmentsMax) {
    return error(Errc::kCorruption, "e_phnum is " + std::to_string(header.program_count) +
                                        ", not 1 to " + std::to_string(kElfSegmentsMax) + "; " +
                                        std::string(kLinkCure));
  }
  if (!fits(header.program_offset, std::uint64_t{header.program_count} * sizeof(ProgramHeader),
            bytes_.size())) {
    return error(Errc::kCorruption, "e_phoff: the program headers lie outside the file's " +
                                        std::to_string(bytes_.size()) +
                                        " bytes; the file is truncated, build it again");
  }
  return header;
}

Result<void> Parser::check_identity(const FileHeader& header) const {
  if (header.ident[4] != elf::kClass64) {
    return error(Errc::kMismatch, "e_ident: not a 64-bit ELF; build the guest for 64 bits");
  }
  if (header.ident[5] != elf::kLittleEndian) {
    return error(Errc::kMismatch,
                 "e_ident: not little-endian; build the guest for x86-64 or arm64");
  }
  if (header.ident[6] != elf::kCurrentVersion || header.version != elf::kCurrentVersion) {
    return error(Errc::kMismatch, "e_version: not version 1 of ELF; build the guest again");
  }
  if (header.machine != elf::kMachineX86 && header.machine != elf::kMachineArm64) {
    return error(Errc::kMismatch, "e_machine is " + std::to_string(header.machine) +
                                      ", neither x86-64 (62) nor arm64 (183); build the guest for "
                                      "one of them");
  }
  if (header.type == elf::kTypeShared) {
    return error(Errc::kMismatch,
                 "e_type: a shared or position-independent ELF; " + std::string(kLinkCure));
  }
  if (header.type != elf::kTypeExecutable) {
    return error(Errc::kMismatch, "e_type is " + std::to_string(header.type) +
                                      ", not an executable (2); " + std::string(kLinkCure));
  }
  if (header.header_bytes != sizeof(FileHeader)) {
    return error(Errc::kCorruption, "e_ehsize is " + std::to_string(header.header_bytes) +
                                        ", not 64; the file is damaged, build it again");
  }
  return {};
}

Result<std::optional<ElfSegment>> Parser::segment(const ProgramHeader& header,
                                                  const std::string& field) const {
  if (header.type == elf::kDynamic || header.type == elf::kInterpreter) {
    return error(Errc::kMismatch,
                 field + ".p_type: a dynamic executable; " + std::string(kLinkCure));
  }
  if (header.type == elf::kThreadLocal) {
    return error(Errc::kMismatch,
                 field +
                     ".p_type: thread-local storage, which bare guests do not have; index an "
                     "array by the vCPU instead");
  }
  if (header.type != elf::kLoad || header.memory_bytes == 0) {
    return std::optional<ElfSegment>();
  }
  if (header.file_bytes > header.memory_bytes) {
    return error(Errc::kCorruption, field + ".p_filesz " + hex(header.file_bytes) +
                                        " is larger than p_memsz " + hex(header.memory_bytes) +
                                        "; the file is damaged, build it again");
  }
  if (!fits(header.offset, header.file_bytes, bytes_.size())) {
    return error(Errc::kCorruption, field + ".p_offset " + hex(header.offset) + " + p_filesz " +
                                        hex(header.file_bytes) + " lies outside the file's " +
                                        std::to_string(bytes_.size()) +
                                        " bytes; the file is truncated, build it again");
  }
  if (header.physical_address != header.virtual_address) {
    return error(Errc::kMismatch, field + ".p_paddr " + hex(header.physical_address) +
                                      " differs from p_vaddr " + hex(header.virtual_address) +
                                      ", but bare guests are identity-mapped; " +
                                      std::string(kLinkCure));
  }
  const std::optional<GpaRange> range =
      make_range(Gpa{header.physical_address}, header.memory_bytes);
  if (!range.has_value()) {
    return error(Errc::kOutOfRange,
                 field + ".p_memsz: the segment at " + hex(header.physical_address) +
                     " wraps around the address space; " + std::string(kLinkCure));
  }
  return std::optional<ElfSegment>(
      ElfSegment{.range = *range, .file = bytes_.subspan(header.offset, header.file_bytes)});
}

Result<void> Parser::sort_and_check_disjoint(std::vector<ElfSegment>& segments) const {
  if (segments.empty()) {
    return error(Errc::kCorruption,
                 "no loadable segment (PT_LOAD): there is nothing to run; build the guest again");
  }
  std::sort(segments.begin(), segments.end(),
            [](const ElfSegment& a, const ElfSegment& b) { return a.range.begin < b.range.begin; });
  for (std::size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].range.begin < segments[i - 1].range.end()) {
      return error(Errc::kCorruption,
                   "p_paddr: the segments at " + hex(segments[i - 1].range.begin.value) + " and " +
                       hex(segments[i].range.begin.value) + " overlap; " + std::string(kLinkCure));
    }
  }
  return {};
}

Result<ElfImage> Parser::parse() const {
  STASIS_ASSIGN(const FileHeader header, file_header());
  ElfImage image{.architecture = header.machine == elf::kMachineX86 ? Architecture::kX86_64
                                                                    : Architecture::kArm64,
                 .entry = Gpa{header.entry},
                 .segments = {}};
  bool entry_found = false;
  for (std::uint16_t i = 0; i < header.program_count; ++i) {
    const auto program =
        copy<ProgramHeader>(header.program_offset + std::uint64_t{i} * sizeof(ProgramHeader));
    const std::string field = "program header " + std::to_string(i);
    STASIS_ASSIGN(const std::optional<ElfSegment> loaded, segment(program, field));
    if (loaded.has_value()) {
      image.segments.push_back(*loaded);
      entry_found = entry_found || ((program.flags & elf::kFlagExecute) != 0 &&
                                    loaded->range.contains(image.entry));
    }
  }
  STASIS_TRY(sort_and_check_disjoint(image.segments));
  if (!entry_found) {
    return error(Errc::kOutOfRange, "e_entry " + hex(header.entry) +
                                        " lies in no executable segment; " +
                                        std::string(kLinkCure));
  }
  return image;
}

}  // namespace

GpaRange ElfImage::extent() const {
  const Gpa begin = segments.front().range.begin;
  return GpaRange{begin, segments.back().range.end().value - begin.value};
}

Result<ElfImage> parse_elf(std::span<const std::byte> bytes, std::string_view name) {
  return Parser(bytes, name).parse();
}

}  // namespace stasis::guests
