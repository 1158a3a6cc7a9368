#include "tests/guests/linux/kernel_fixture.h"

#include <fcntl.h>
#include <stdlib.h>

#include <fstream>

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kArena = 0x1000'0000;
constexpr std::uint64_t kArenaBytes = std::uint64_t{1} << 20U;

}  // namespace

KernelTest::KernelTest() : next_(kArena) {
  std::string pattern = (std::filesystem::temp_directory_path() / "stasis-linux-XXXXXX").string();
  base_ = std::filesystem::canonical(::mkdtemp(pattern.data()));
  folder = base_ / "allowed";
  secret = base_ / "secret";
  std::filesystem::create_directory(folder);
  std::ofstream(secret) << "nobody's business";

  MapRequest arena;
  arena.hint = UserAddress{kArena};
  arena.size_bytes = kArenaBytes;
  arena.protection = Protection::kRead | Protection::kWrite;
  arena.placement = MapRequest::Placement::kFixed;
  EXPECT_EQ(memory.map(arena), static_cast<SysResult>(kArena));
  cpu.general().rsp = kArena + kArenaBytes - 64;
  cpu.general().rip = 0x40'1000;

  config.allow_read = {folder.string()};
  config.arguments = {"program", "argument"};
  config.environment = {"NAME=value"};
  config.executable = (folder / "program").string();
  config.output = [this](int descriptor, std::string_view bytes) {
    output += std::to_string(descriptor) + ":" + std::string(bytes) + ";";
  };
  config.random = [](std::span<std::byte> out) { std::ranges::fill(out, std::byte{0x5a}); };
  config.clock = &clock;
  config.tmpfs_bytes_max = std::uint64_t{1} << 20U;
  config.response_bytes_max = 1000;
  make_kernel();
}

KernelTest::~KernelTest() {
  kernel.reset();
  std::filesystem::remove_all(base_);
}

void KernelTest::make_kernel() {
  auto made = Kernel::create(config, memory);
  ASSERT_TRUE(made.has_value()) << made.error().to_string();
  kernel = *std::move(made);
}

AfterTrap KernelTest::trap(long number, std::array<std::uint64_t, 6> arguments) {
  X86GeneralRegisters& general = cpu.general();
  general.rax = static_cast<std::uint64_t>(number);
  general.rdi = arguments[0];
  general.rsi = arguments[1];
  general.rdx = arguments[2];
  general.r10 = arguments[3];
  general.r8 = arguments[4];
  general.r9 = arguments[5];
  return kernel->syscall(cpu);
}

SysResult KernelTest::call(long number, std::array<std::uint64_t, 6> arguments) {
  EXPECT_EQ(trap(number, arguments), AfterTrap::kContinue) << "system call " << number;
  return result();
}

std::uint64_t KernelTest::room(std::uint64_t bytes) {
  const std::uint64_t at = next_;
  next_ += (bytes + 63) / 64 * 64;
  EXPECT_LT(next_, kArena + kArenaBytes - 65536) << "the arena is used up";
  return at;
}

std::uint64_t KernelTest::text(std::string_view content) {
  const std::uint64_t at = room(content.size() + 1);
  EXPECT_EQ(memory.write({at}, std::as_bytes(std::span(content))), content.size());
  return at;
}

std::string KernelTest::get_text(std::uint64_t at, std::size_t size) {
  std::string content(size, '\0');
  EXPECT_EQ(memory.read({at}, std::as_writable_bytes(std::span(content))), size);
  return content;
}

SysResult KernelTest::open(std::string_view path, int flags, int mode) {
  return call(SYS_openat, {static_cast<std::uint64_t>(AT_FDCWD), text(path),
                           static_cast<std::uint64_t>(flags), static_cast<std::uint64_t>(mode)});
}

SysResult KernelTest::write(SysResult descriptor, std::string_view bytes) {
  return call(SYS_write, {static_cast<std::uint64_t>(descriptor), text(bytes), bytes.size()});
}

std::string KernelTest::read(SysResult descriptor, std::size_t bytes_max) {
  const std::uint64_t to = room(bytes_max);
  const SysResult got = call(SYS_read, {static_cast<std::uint64_t>(descriptor), to, bytes_max});
  return got < 0 ? "error " + std::to_string(-got) : get_text(to, static_cast<std::size_t>(got));
}

void KernelTest::host_file(const std::string& name, std::string_view content) {
  std::ofstream(folder / name, std::ios::binary) << content;
}

void KernelTest::post(std::string_view request) {
  const auto posted = kernel->post_request(std::as_bytes(std::span(request)));
  ASSERT_TRUE(posted.has_value()) << posted.error().to_string();
}

std::string KernelTest::response() {
  const auto taken = kernel->take_response();
  if (!taken) {
    return "(none)";
  }
  std::string content;
  for (const std::byte byte : *taken) {
    content += static_cast<char>(byte);
  }
  return content;
}

std::vector<std::byte> KernelTest::save() {
  auto saved = kernel->save();
  EXPECT_TRUE(saved.has_value()) << saved.error().to_string();
  return saved.has_value() ? *saved : std::vector<std::byte>{};
}

Result<void> KernelTest::load(std::span<const std::byte> state, Kernel::StaleFiles stale) {
  make_kernel();
  return kernel->load(state, stale);
}

void KernelTest::save_and_load() {
  const std::vector<std::byte> before = save();
  const auto loaded = load(before);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().to_string();
  EXPECT_EQ(save(), before) << "what was loaded is not what was saved";
}

}  // namespace stasis::linux_guest
