#include "guests/linux/vm/program_image.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "core/text.h"
#include "guests/elf_format.h"

namespace stasis::linux_guest::vm {
namespace {

namespace elf = guests::elf;
using elf::FileHeader;
using elf::ProgramHeader;

constexpr std::uint16_t kHeadersMax = 1024;  // Linux allows 64 KiB of them.
constexpr std::uint64_t kInterpreterBytesMax = 4096;
constexpr std::uint64_t kAlignmentMax = std::uint64_t{1} << 30U;

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case 3:
      return "32-bit x86";
    case 40:
      return "32-bit ARM";
    case elf::kMachineArm64:
      return "arm64";
    case 243:
      return "RISC-V";
    default:
      return "machine number " + std::to_string(machine);
  }
}

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file), name_(file.path()) {}

  Result<ProgramImage> read();

 private:
  [[nodiscard]] Error error(Errc code, const std::string& message) const {
    return Error{.code = code, .message = name_ + ": " + message};
  }
  // `size` bytes or an error that names `what`.
  Result<std::vector<std::byte>> bytes_at(std::uint64_t offset, std::uint64_t size,
                                          const std::string& what) const;
  Result<FileHeader> header() const;
  Result<void> add(const ProgramHeader& header, const std::string& field, ProgramImage& image);
  Result<void> add_segment(const ProgramHeader& header, const std::string& field,
                           ProgramImage& image) const;
  Result<void> check(ProgramImage& image) const;

  const MappedFile& file_;
  std::string name_;
  std::uint64_t headers_offset_ = 0;
};

Result<std::vector<std::byte>> Reader::bytes_at(std::uint64_t offset, std::uint64_t size,
                                                const std::string& what) const {
  if (!fits(offset, size, file_.size_bytes())) {
    return error(Errc::kCorruption, what + " lies outside of the file; it is truncated");
  }
  std::vector<std::byte> bytes(size);
  const SysResult got = file_.read_at(offset, bytes);
  if (got < 0 || static_cast<std::uint64_t>(got) != size) {
    return errno_error(got < 0 ? static_cast<int>(-got) : 0, name_ + ": cannot read " + what);
  }
  return bytes;
}

Result<FileHeader> Reader::header() const {
  const std::uint64_t size = std::min<std::uint64_t>(file_.size_bytes(), sizeof(FileHeader));
  STASIS_ASSIGN(const std::vector<std::byte> bytes, bytes_at(0, size, "the beginning"));
  const auto starts_with = [&bytes](std::string_view text) {
    return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
  };
  if (starts_with("#!")) {
    return error(Errc::kMismatch,
                 "a script, not an ELF program; start its interpreter with the script as argument");
  }
  if (!starts_with(elf::kMagic)) {
    return error(Errc::kMismatch, "not an ELF program (it does not begin with \\x7f ELF)");
  }
  if (bytes.size() < sizeof(FileHeader)) {
    return error(Errc::kCorruption, "the ELF header is truncated");
  }
  FileHeader header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.machine != elf::kMachineX86 || header.ident[4] != elf::kClass64 ||
      header.ident[5] != elf::kLittleEndian) {
    return error(Errc::kMismatch,
                 "a program for " +
                     (header.machine == elf::kMachineX86 ? "x86-64 in a 32-bit or big-endian form"
                                                         : machine_name(header.machine)) +
                     "; only 64-bit x86-64 programs run here");
  }
  if (header.type != elf::kTypeExecutable && header.type != elf::kTypeShared) {
    return error(Errc::kMismatch, "e_type is " + std::to_string(header.type) +
                                      ": an object file or core dump, not a program");
  }
  if (header.program_entry_bytes != sizeof(ProgramHeader) || header.program_count == 0 ||
      header.program_count > kHeadersMax) {
    return error(Errc::kCorruption, "e_phentsize or e_phnum is damaged");
  }
  return header;
}

Result<void> Reader::add_segment(const ProgramHeader& header, const std::string& field,
                                 ProgramImage& image) const {
  if (header.file_bytes > header.memory_bytes) {
    return error(Errc::kCorruption, field + ": p_filesz is larger than p_memsz");
  }
  if (!fits(header.offset, header.file_bytes, file_.size_bytes())) {
    return error(Errc::kCorruption, field + " lies outside of the file; it is truncated");
  }
  if (!fits(header.virtual_address, header.memory_bytes, kUserSpaceEnd - kPageBytes)) {
    return error(Errc::kCorruption, field + ": p_vaddr lies outside of user space");
  }
  if ((header.virtual_address - header.offset) % kPageBytes != 0) {
    return error(Errc::kCorruption, field + ": p_vaddr and p_offset disagree modulo 4096");
  }
  Protection protection = Protection::kNone;
  protection = protection |
               ((header.flags & elf::kFlagRead) != 0 ? Protection::kRead : Protection::kNone) |
               ((header.flags & elf::kFlagWrite) != 0 ? Protection::kWrite : Protection::kNone) |
               ((header.flags & elf::kFlagExecute) != 0 ? Protection::kExecute : Protection::kNone);
  image.segments.push_back({.address = header.virtual_address,
                            .memory_bytes = header.memory_bytes,
                            .offset = header.offset,
                            .file_bytes = header.file_bytes,
                            .protection = protection});
  if (std::has_single_bit(header.alignment) && header.alignment <= kAlignmentMax) {
    image.alignment = std::max(image.alignment, header.alignment);
  }
  if (headers_offset_ >= header.offset && headers_offset_ - header.offset < header.file_bytes &&
      image.headers_address == 0) {
    image.headers_address = header.virtual_address + (headers_offset_ - header.offset);
  }
  return {};
}

Result<void> Reader::add(const ProgramHeader& header, const std::string& field,
                         ProgramImage& image) {
  switch (header.type) {
    case elf::kLoad:
      return header.memory_bytes == 0 ? Result<void>() : add_segment(header, field, image);
    case elf::kHeaders:
      image.headers_address = header.virtual_address;
      return {};
    case elf::kGnuStack:
      if ((header.flags & elf::kFlagExecute) != 0) {
        image.stack_protection = image.stack_protection | Protection::kExecute;
      }
      return {};
    case elf::kInterpreter: {
      if (header.file_bytes < 2 || header.file_bytes > kInterpreterBytesMax) {
        return error(Errc::kCorruption, field + ": the interpreter's name is damaged");
      }
      STASIS_ASSIGN(const std::vector<std::byte> bytes,
                    bytes_at(header.offset, header.file_bytes, field));
      std::string name(bytes.size(), '\0');
      std::memcpy(name.data(), bytes.data(), bytes.size());
      name.resize(std::min(name.find('\0'), name.size()));
      image.interpreter = std::move(name);
      return {};
    }
    default:
      return {};
  }
}

Result<void> Reader::check(ProgramImage& image) const {
  if (image.segments.empty()) {
    return error(Errc::kCorruption, "no loadable segment: there is nothing to run");
  }
  std::sort(image.segments.begin(), image.segments.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  for (std::size_t i = 1; i < image.segments.size(); ++i) {
    const ProgramSegment& low = image.segments[i - 1];
    if (align_up(low.address + low.memory_bytes, kPageBytes) >
        align_down(image.segments[i].address, kPageBytes)) {
      return error(Errc::kCorruption, "the segments at " + hex(low.address) + " and " +
                                          hex(image.segments[i].address) +
                                          " share a page or overlap");
    }
  }
  return {};
}

Result<ProgramImage> Reader::read() {
  STASIS_ASSIGN(const FileHeader file, header());
  headers_offset_ = file.program_offset;
  STASIS_ASSIGN(const std::vector<std::byte> table,
                bytes_at(file.program_offset, file.program_count * sizeof(ProgramHeader),
                         "the table of program headers"));
  ProgramImage image;
  image.is_position_independent = file.type == elf::kTypeShared;
  image.entry = file.entry;
  image.header_count = file.program_count;
  for (std::uint16_t i = 0; i < file.program_count; ++i) {
    ProgramHeader header{};
    std::memcpy(&header, table.data() + i * sizeof(header), sizeof(header));
    STASIS_TRY(add(header, "program header " + std::to_string(i), image));
  }
  STASIS_TRY(check(image));
  return image;
}

}  // namespace

std::uint64_t ProgramImage::begin() const {
  return align_down(segments.front().address, kPageBytes);
}

std::uint64_t ProgramImage::end() const {
  return align_up(segments.back().address + segments.back().memory_bytes, kPageBytes);
}

Result<ProgramImage> read_program_image(const MappedFile& file) {
  return Reader(file).read();
}

}  // namespace stasis::linux_guest::vm
