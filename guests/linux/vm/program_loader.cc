#include "guests/linux/vm/program_loader.h"

#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "core/text.h"
#include "guests/linux/vm/program_image.h"
#include "guests/linux/vm/vdso_image.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

// The places that Linux would choose (fs/binfmt_elf.c, arch/x86/mm/mmap.c), and how far they vary.
constexpr std::uint64_t kProgramBase = 0x5555'5555'4000;
constexpr std::uint64_t kStackBytesMax = 8 * kMiB;
constexpr std::uint64_t kStackBytes = 132 << 10U;
constexpr std::uint64_t kStackVariation = 16 * kGiB;
constexpr std::uint64_t kMmapGap = 128 * kMiB;
constexpr std::uint64_t kVariation = std::uint64_t{1} << 40U;
constexpr std::uint64_t kBreakVariation = 32 * kMiB;
// execve(2): strings of at most 32 pages each, a quarter of the stack for all.
constexpr std::uint64_t kStringBytesMax = 32 * kPageBytes;
constexpr std::uint64_t kStringsBytesMax = kStackBytesMax / 4;

// splitmix64: numbers that look random, and are the same for the same seed.
class Sequence {
 public:
  explicit Sequence(std::uint64_t seed) : state_(seed) {}
  std::uint64_t pages_below(std::uint64_t bytes) {  // A page multiple.
    return next() % (bytes / kPageBytes) * kPageBytes;
  }

 private:
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111eb;
    return z ^ (z >> 31U);
  }
  std::uint64_t state_;
};

enum AuxiliaryType : std::uint64_t {  // getauxval(3), <elf.h>
  kAtNull = 0,
  kAtIgnore = 1,
  kAtPhdr = 3,
  kAtPhent = 4,
  kAtPhnum = 5,
  kAtPagesz = 6,
  kAtBase = 7,
  kAtFlags = 8,
  kAtEntry = 9,
  kAtUid = 11,
  kAtEuid = 12,
  kAtGid = 13,
  kAtEgid = 14,
  kAtPlatform = 15,
  kAtHwcap = 16,
  kAtClktck = 17,
  kAtSecure = 23,
  kAtRandom = 25,
  kAtHwcap2 = 26,
  kAtExecfn = 31,
  kAtSysinfoEhdr = 33,
  kAtMinsigstksz = 51,
};

// What the processor below can do: ring 3 runs on it, whatever CPUID a backend is given.
struct HardwareCapabilities {
  std::uint64_t hwcap = 0, hwcap2 = 0, signal_stack_bytes = 2048;
};
HardwareCapabilities hardware_capabilities() {
  HardwareCapabilities found;
#if defined(__linux__) && defined(__x86_64__)
  found.hwcap = ::getauxval(AT_HWCAP);
  // HWCAP2_FSGSBASE alone (asm/hwcap2.h); MONITOR in ring 3 is not offered.
  found.hwcap2 = ::getauxval(AT_HWCAP2) & 2U;
  const std::uint64_t bytes = ::getauxval(kAtMinsigstksz);
  found.signal_stack_bytes = bytes != 0 ? bytes : found.signal_stack_bytes;
#endif
  return found;
}

Error out_of_space(const std::string& name) {
  return Error{.code = Errc::kInvalidArgument,
               .message = name + ": does not fit into the guest's memory; give it more"};
}

Result<void> write_all(GuestAddressSpace& space, std::uint64_t address,
                       std::span<const std::byte> bytes, const std::string& name) {
  if (space.write({address}, bytes) != bytes.size()) {
    return out_of_space(name);
  }
  return {};
}

// Where the image's addresses are moved by, and its segments mapped.
Result<void> map_image(GuestAddressSpace& space, const ProgramImage& image, std::uint64_t bias,
                       const std::shared_ptr<const ProgramFile>& file) {
  for (const ProgramSegment& segment : image.segments) {
    const std::uint64_t begin = align_down(bias + segment.address, kPageBytes);
    const std::uint64_t file_end = bias + segment.address + segment.file_bytes;
    const std::uint64_t memory_end = bias + segment.address + segment.memory_bytes;
    const std::uint64_t anonymous =
        segment.file_bytes == 0 ? begin : align_up(file_end, kPageBytes);
    SysResult mapped = 0;
    if (segment.file_bytes != 0) {
      mapped = space.map({.hint = {begin},
                          .size_bytes = anonymous - begin,
                          .protection = segment.protection,
                          .placement = MapRequest::Placement::kFixedNoReplace,
                          .file = file,
                          .file_offset = align_down(segment.offset, kPageBytes)});
    }
    if (mapped >= 0 && memory_end > anonymous) {
      mapped = space.map({.hint = {anonymous},
                          .size_bytes = memory_end - anonymous,
                          .protection = segment.protection,
                          .placement = MapRequest::Placement::kFixedNoReplace});
    }
    if (mapped < 0) {
      return Error{.code = Errc::kInvalidArgument,
                   .os_error = static_cast<int>(-mapped),
                   .message = file->path() + ": cannot map the segment for " + hex(begin)};
    }
    // The last page of the file is zero behind the segment, as Linux makes it: the dynamic linker
    // allocates its first memory there.
    if (has(segment.protection, Protection::kWrite) && segment.memory_bytes > segment.file_bytes &&
        segment.file_bytes != 0) {
      const std::vector<std::byte> zeros(anonymous - file_end);
      STASIS_TRY(write_all(space, file_end, zeros, file->path()));
    }
  }
  return {};
}

Result<std::shared_ptr<const ProgramFile>> open_interpreter(const std::string& program,
                                                            const std::string& name,
                                                            const ProgramRequest& request) {
  std::error_code failure;
  const std::string path = std::filesystem::canonical(name, failure).string();
  if (failure) {
    return Error{.code = Errc::kNotFound,
                 .os_error = failure.value(),
                 .message = program + ": its ELF interpreter '" + name +
                            "' is missing: install the library that it belongs to"};
  }
  if (!request.may_read(path)) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = program + ": its ELF interpreter '" + path +
                            "' is not on the guest's allow-list: add --allow-read " +
                            std::filesystem::path(path).parent_path().string()};
  }
  return ProgramFile::open(path, kInterpreterFileId);
}

// The vDSO behind its time page; 0: there is none.
Result<std::uint64_t> map_vdso(GuestAddressSpace& space, const std::string& program) {
  const std::span<const std::byte> image = vdso_image();
  if (image.empty()) {
    return std::uint64_t{0};
  }
  const std::uint64_t page = space.time_page_address();
  const std::uint64_t begin = page + STASIS_TIME_PAGE_BYTES;
  const std::uint64_t size = align_up(image.size(), kPageBytes);
  const auto map = [&space](std::uint64_t at, std::uint64_t bytes, std::string_view name) {
    return space.map({.hint = {at},
                      .size_bytes = bytes,
                      .protection = Protection::kRead | Protection::kWrite,
                      .placement = MapRequest::Placement::kFixedNoReplace,
                      .name = std::string(name)}) >= 0;
  };
  if (!map(page, STASIS_TIME_PAGE_BYTES, GuestAddressSpace::kTimePageName) ||
      !map(begin, size, "[vdso]")) {
    return out_of_space(program);
  }
  STASIS_TRY(write_all(space, begin, image, program));
  const std::array<std::byte, sizeof(stasis_time_page)> empty{};
  STASIS_TRY(write_all(space, page, empty, program));
  if (space.protect({page}, STASIS_TIME_PAGE_BYTES, Protection::kRead) != 0 ||
      space.protect({begin}, size, Protection::kRead | Protection::kExecute) != 0) {
    return out_of_space(program);
  }
  // No processor has seen these pages: nothing has to be written again.
  space.rewrites().clear();
  return begin;
}

// Builds the first stack from its top downwards (System V ABI, AMD64 supplement, 3.4.1).
class StackBuilder {
 public:
  StackBuilder(GuestAddressSpace& space, std::uint64_t top, std::string name)
      : space_(space), at_(top), name_(std::move(name)) {}

  Result<std::uint64_t> push(std::span<const std::byte> bytes) {
    at_ -= bytes.size();
    STASIS_TRY(write_all(space_, at_, bytes, name_));
    return at_;
  }
  Result<std::uint64_t> push_text(const std::string& text) {
    return push(std::as_bytes(std::span(text.c_str(), text.size() + 1)));
  }
  // The last in the list is at the lowest address, as Linux has it.
  Result<std::vector<std::uint64_t>> push_texts(const std::vector<std::string>& texts) {
    std::vector<std::uint64_t> places(texts.size());
    for (std::size_t i = texts.size(); i-- > 0;) {
      STASIS_ASSIGN(places[i], push_text(texts[i]));
    }
    return places;
  }
  // 16-byte aligned afterwards.
  Result<std::uint64_t> push_words(const std::vector<std::uint64_t>& words) {
    at_ = align_down(at_ - words.size() * 8, 16) + words.size() * 8;
    return push(std::as_bytes(std::span(words)));
  }

 private:
  GuestAddressSpace& space_;
  std::uint64_t at_;
  std::string name_;
};

struct Placed {
  ProgramImage image;
  std::uint64_t bias = 0;
};

Result<std::uint64_t> build_stack(GuestAddressSpace& space, const ProgramRequest& request,
                                  std::uint64_t top, const Placed& program,
                                  std::uint64_t interpreter_base, std::uint64_t vdso) {
  StackBuilder stack(space, top - 8, request.executable);
  STASIS_ASSIGN(const std::uint64_t name, stack.push_text(request.executable));
  STASIS_ASSIGN(const auto environment, stack.push_texts(request.environment));
  STASIS_ASSIGN(const auto arguments, stack.push_texts(request.arguments));
  STASIS_ASSIGN(const std::uint64_t platform, stack.push_text("x86_64"));
  STASIS_ASSIGN(const std::uint64_t random, stack.push(request.random));
  const HardwareCapabilities hardware = hardware_capabilities();
  std::vector<std::uint64_t> words = {request.arguments.size()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.push_back(0);
  words.insert(words.end(), environment.begin(), environment.end());
  words.push_back(0);
  const ProgramImage& image = program.image;
  constexpr std::uint64_t kHeaderBytes = 56, kTicksPerSecond = 100, kRoot = 0;
  const std::uint64_t headers =
      image.headers_address == 0 ? 0 : program.bias + image.headers_address;
  for (const auto& [type, value] : std::initializer_list<std::pair<AuxiliaryType, std::uint64_t>>{
           {vdso == 0 ? kAtIgnore : kAtSysinfoEhdr, vdso},
           {kAtMinsigstksz, hardware.signal_stack_bytes},
           {kAtHwcap, hardware.hwcap},
           {kAtPagesz, kPageBytes},
           {kAtClktck, kTicksPerSecond},
           {kAtPhdr, headers},
           {kAtPhent, kHeaderBytes},
           {kAtPhnum, image.header_count},
           {kAtBase, interpreter_base},
           {kAtFlags, 0},
           {kAtEntry, program.bias + image.entry},
           {kAtUid, kRoot},
           {kAtEuid, kRoot},
           {kAtGid, kRoot},
           {kAtEgid, kRoot},
           {kAtSecure, 0},
           {kAtRandom, random},
           {kAtHwcap2, hardware.hwcap2},
           {kAtExecfn, name},
           {kAtPlatform, platform},
           {kAtNull, 0}}) {
    words.push_back(type);
    words.push_back(value);
  }
  return stack.push_words(words);
}

Result<std::uint64_t> string_bytes(const ProgramRequest& request) {
  std::uint64_t sum = request.executable.size() + 1;
  for (const auto* list : {&request.arguments, &request.environment}) {
    for (const std::string& text : *list) {
      sum += text.size() + 1 + sizeof(std::uint64_t);
      if (text.size() >= kStringBytesMax || sum > kStringsBytesMax ||
          text.find('\0') != std::string::npos) {
        return Error{.code = Errc::kInvalidArgument,
                     .message = request.executable +
                                ": arguments and environment: at most 128 KiB each and 2 MiB "
                                "together, without NUL bytes"};
      }
    }
  }
  return sum;
}

}  // namespace

Result<LoadedProgram> load_program(GuestAddressSpace& space, const ProgramRequest& request) {
  STASIS_ASSIGN(const std::uint64_t strings, string_bytes(request));
  LoadedProgram loaded;
  STASIS_ASSIGN(loaded.executable, ProgramFile::open(request.executable, kExecutableFileId));
  Placed program;
  STASIS_ASSIGN(program.image, read_program_image(*loaded.executable));
  std::optional<ProgramImage> interpreter;
  if (program.image.interpreter) {
    STASIS_ASSIGN(loaded.interpreter,
                  open_interpreter(request.executable, *program.image.interpreter, request));
    STASIS_ASSIGN(interpreter, read_program_image(*loaded.interpreter));
  }

  Sequence sequence(request.layout_seed);
  const std::uint64_t stack_top = kUserSpaceEnd - sequence.pages_below(kStackVariation);
  const std::uint64_t mmap_top =
      kUserSpaceEnd - kStackVariation - kMmapGap - sequence.pages_below(kVariation);
  if (program.image.is_position_independent) {
    program.bias =
        align_down(kProgramBase + sequence.pages_below(kVariation), program.image.alignment) -
        program.image.begin();
  }
  const std::uint64_t break_begin =
      program.bias + program.image.end() + sequence.pages_below(kBreakVariation);
  space.set_plan({.break_begin = break_begin,
                  .mmap_top = mmap_top,
                  .stack_lowest = stack_top - kStackBytesMax});
  STASIS_TRY(map_image(space, program.image, program.bias, loaded.executable));
  std::uint64_t entry = program.bias + program.image.entry;
  std::uint64_t interpreter_base = 0;
  if (interpreter) {
    const std::uint64_t span = interpreter->end() - interpreter->begin();
    interpreter_base = align_down(mmap_top - span, std::max(interpreter->alignment, kPageBytes)) -
                       interpreter->begin();
    STASIS_TRY(map_image(space, *interpreter, interpreter_base, loaded.interpreter));
    entry = interpreter_base + interpreter->entry;
  }
  const std::uint64_t stack_bytes =
      align_up(std::max(kStackBytes, strings + kStackBytes / 2), kPageBytes);
  if (space.map({.hint = {stack_top - stack_bytes},
                 .size_bytes = stack_bytes,
                 .protection = program.image.stack_protection,
                 .placement = MapRequest::Placement::kFixedNoReplace,
                 .grows_down = true,
                 .name = "[stack]"}) < 0) {
    return out_of_space(request.executable);
  }
  STASIS_ASSIGN(const std::uint64_t vdso, map_vdso(space, request.executable));
  STASIS_ASSIGN(loaded.registers.rsp,
                build_stack(space, request, stack_top, program, interpreter_base, vdso));
  loaded.registers.rip = entry;
  constexpr std::uint64_t kInterruptsOn = 0x200, kAlwaysOne = 2;
  loaded.registers.rflags = kInterruptsOn | kAlwaysOne;
  return loaded;
}

}  // namespace stasis::linux_guest::vm
