// LinuxProcess: how it begins, and its saved state.
#include <algorithm>
#include <filesystem>
#include <random>
#include <utility>

#include "guests/linux/vm/byte_codec.h"
#include "guests/linux/vm/layout.h"
#include "guests/linux/vm/process.h"
#include "guests/linux/vm/system_tables.h"
#include "guests/memory_layout.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint32_t kStateVersion = 1;

Error corrupt(const std::string& cause) {
  return Error{.code = Errc::kCorruption, .message = "state of the Linux process: " + cause};
}

// Files and folders below `folder`.
bool is_below(const std::string& path, const std::string& folder) {
  return path == folder || folder == "/" ||
         (path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
          path[folder.size()] == '/');
}

void fill_random(const ProcessHost& host, std::span<std::byte> out) {
  if (host.random) {
    host.random(out);
    return;
  }
  std::random_device source;
  for (std::byte& byte : out) {
    byte = static_cast<std::byte>(source() & 0xffU);
  }
}

void encode_texts(ByteWriter& out, const std::vector<std::string>& texts) {
  out.u64(texts.size());
  for (const std::string& text : texts) {
    out.text(text);
  }
}

std::vector<std::string> decode_texts(ByteReader& in) {
  std::vector<std::string> texts;
  for (std::uint64_t i = in.count(sizeof(std::uint64_t)); i > 0; --i) {
    texts.push_back(in.text());
  }
  return texts;
}

// In the order of X86GeneralRegisters.
template <typename Registers, typename Visit>
void for_each_register(Registers& r, Visit visit) {
  for (auto* value :
       {&r.general.rax, &r.general.rbx, &r.general.rcx,    &r.general.rdx, &r.general.rsi,
        &r.general.rdi, &r.general.rsp, &r.general.rbp,    &r.general.r8,  &r.general.r9,
        &r.general.r10, &r.general.r11, &r.general.r12,    &r.general.r13, &r.general.r14,
        &r.general.r15, &r.general.rip, &r.general.rflags, &r.fs_base,     &r.gs_base}) {
    visit(*value);
  }
}

void encode_stamp(ByteWriter& out, const FileStamp& stamp) {
  out.u64(stamp.size_bytes);
  out.u64(static_cast<std::uint64_t>(stamp.modified_ns));
}

FileStamp decode_stamp(ByteReader& in) {
  const std::uint64_t size = in.u64();
  return {.size_bytes = size, .modified_ns = static_cast<std::int64_t>(in.u64())};
}

}  // namespace

KernelConfig LinuxProcess::kernel_config() const {
  KernelConfig config = config_;
  config.output = host_.output;
  config.random = host_.random;
  return config;
}

Result<std::shared_ptr<LinuxProcess>> LinuxProcess::create(ProcessHost host,
                                                           const ProcessOptions& options,
                                                           GuestMemory& memory) {
  if (options.memory_bytes < layout::kMemoryBytesMin) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "guest memory of " + std::to_string(options.memory_bytes >> 20U) +
                            " MiB: a Linux guest needs at least 16 MiB"};
  }
  STASIS_TRY(guests::guest_memory_regions(options.memory_bytes));
  std::shared_ptr<LinuxProcess> process(new LinuxProcess(std::move(host)));
  process->config_ = options.kernel;
  process->config_.output = {};
  process->config_.random = {};
  process->space_ = GuestAddressSpace::create(options.memory_bytes);
  STASIS_TRY(process->attach(memory));
  process->space_->write_system();

  ProgramRequest request{.executable = options.kernel.executable,
                         .arguments = options.kernel.arguments,
                         .environment = options.kernel.environment,
                         .layout_seed = options.layout_seed};
  request.may_read = [&allowed = options.kernel.allow_read](const std::string& path) {
    return std::any_of(allowed.begin(), allowed.end(),
                       [&path](const std::string& folder) { return is_below(path, folder); });
  };
  fill_random(process->host_, request.random);
  STASIS_ASSIGN(const LoadedProgram loaded, load_program(*process->space_, request));
  process->executable_ = loaded.executable;
  process->interpreter_ = loaded.interpreter;
  process->start_ = start_state(loaded.registers, options.features);
  STASIS_ASSIGN(process->kernel_,
                process->host_.make_kernel(process->kernel_config(), *process->space_));
  return process;
}

MachineState LinuxProcess::start() const {
  return {.vcpus = {start_},
          .activities = {VcpuActivity::kRunning},
          .wake_pending = {false},
          .devices = {{std::string(kName), kStateVersion, {}}}};
}

std::shared_ptr<LinuxProcess> LinuxProcess::create_for_restore(ProcessHost host) {
  std::shared_ptr<LinuxProcess> process(new LinuxProcess(std::move(host)));
  process->is_restored_ = true;
  return process;
}

void LinuxProcess::encode_config(ByteWriter& out) const {
  encode_texts(out, config_.allow_read);
  encode_texts(out, config_.arguments);
  encode_texts(out, config_.environment);
  out.text(config_.executable);
  out.text(config_.working_directory);
  out.u64(config_.tmpfs_bytes_max);
  out.u64(config_.response_bytes_max);
  out.u8(0);  // Reserved.
  encode_stamp(out, executable_->stamp());
  out.text(interpreter_ == nullptr ? "" : interpreter_->path());
  encode_stamp(out, interpreter_ == nullptr ? FileStamp() : interpreter_->stamp());
}

Result<void> LinuxProcess::decode_config(ByteReader& in) {
  config_.allow_read = decode_texts(in);
  config_.arguments = decode_texts(in);
  config_.environment = decode_texts(in);
  config_.executable = in.text();
  config_.working_directory = in.text();
  config_.tmpfs_bytes_max = in.u64();
  config_.response_bytes_max = in.u64();
  static_cast<void>(in.u8());  // Reserved; any value.
  executable_stamp_ = decode_stamp(in);
  interpreter_path_ = in.text();
  interpreter_stamp_ = decode_stamp(in);
  return {};
}

Result<DeviceState> LinuxProcess::save_state() const {
  ByteWriter out;
  encode_config(out);
  out.u8(static_cast<std::uint8_t>(mode_));
  out.u8(was_ready_ ? 1 : 0);
  for_each_register(user_, [&out](const std::uint64_t& value) { out.u64(value); });
  out.u8(ended_.kind == MachineEvent::Kind::kExit ? 1 : 0);
  out.u64(ended_.value);
  out.text(ended_.message);
  {
    const MutexLock lock(mutex_);
    out.u64(requests_.size());
    for (const std::vector<std::byte>& request : requests_) {
      out.bytes(request);
    }
  }
  space_->encode(out);
  STASIS_ASSIGN(const std::vector<std::byte> kernel, kernel_->save());
  out.bytes(kernel);
  return DeviceState{std::string(kName), kStateVersion, std::move(out).take()};
}

// A changed program would be read from in the middle: the part of it that was touched before the
// save is in the snapshot, the rest comes from the file.
Result<void> LinuxProcess::open_programs() {
  const auto open = [this](const std::string& path, std::uint64_t id,
                           const FileStamp& stamp) -> Result<std::shared_ptr<const ProgramFile>> {
    STASIS_ASSIGN(std::shared_ptr<const ProgramFile> file, ProgramFile::open(path, id));
    if (host_.stale_files == Kernel::StaleFiles::kRefuse && file->stamp() != stamp) {
      return Error{.code = Errc::kMismatch,
                   .message = "'" + path + "' has changed since the guest was saved (" +
                              (file->size_bytes() != stamp.size_bytes
                                   ? "size " + std::to_string(stamp.size_bytes) + " then, " +
                                         std::to_string(file->size_bytes()) + " now"
                                   : "another modification time") +
                              ")"};
    }
    return file;
  };
  STASIS_ASSIGN(executable_, open(config_.executable, kExecutableFileId, executable_stamp_));
  if (!interpreter_path_.empty()) {
    STASIS_ASSIGN(interpreter_, open(interpreter_path_, kInterpreterFileId, interpreter_stamp_));
  }
  return {};
}

Result<void> LinuxProcess::load_state(const DeviceState& state) {
  if (state.version != kStateVersion) {
    return Error{.code = Errc::kNotSupported,
                 .message = "version " + std::to_string(state.version) + " is unknown"};
  }
  if (!is_restored_) {
    // A Machine loads the state that it starts with; the process is in it already.
    return state.bytes.empty()
               ? Result<void>()
               : Error{.code = Errc::kNotSupported,
                       .message =
                           "a Linux guest is restored into a new VM: KVM remembers the page "
                           "tables of one that has run"};
  }
  ByteReader in(state.bytes);
  STASIS_TRY(decode_config(in));
  const std::uint8_t mode = in.u8();
  const std::uint8_t ready = in.u8();
  if (mode > static_cast<std::uint8_t>(Mode::kEnded) || ready > 1) {
    return corrupt("its mode is not one");
  }
  mode_ = static_cast<Mode>(mode);
  was_ready_ = ready != 0;
  for_each_register(user_, [&in](std::uint64_t& value) { value = in.u64(); });
  ended_.kind = in.u8() == 1 ? MachineEvent::Kind::kExit : MachineEvent::Kind::kGuestFailed;
  ended_.value = in.u64();
  ended_.message = in.text();
  user_.cs = user_code();
  user_.ss = user_stack();
  const std::uint64_t requests = in.count(sizeof(std::uint64_t));
  if (requests > kQueuedRequestsMax) {
    return corrupt("more requests than can wait");
  }
  {
    const MutexLock lock(mutex_);
    requests_.clear();
    for (std::uint64_t i = 0; i < requests; ++i) {
      const auto bytes = in.bytes();
      requests_.emplace_back(bytes.begin(), bytes.end());
    }
  }
  STASIS_ASSIGN(space_, GuestAddressSpace::decode(in));
  const std::span<const std::byte> kernel = in.bytes();
  if (!in.is_whole()) {
    return corrupt("it is truncated, or bytes follow it");
  }
  STASIS_TRY(open_programs());
  STASIS_ASSIGN(kernel_, host_.make_kernel(kernel_config(), *space_));
  STASIS_TRY(kernel_->load(kernel, host_.stale_files));
  return space_->bind_files([this](std::uint64_t id) -> std::shared_ptr<const MappedFile> {
    if (id == kExecutableFileId) {
      return executable_;
    }
    return id == kInterpreterFileId ? interpreter_ : kernel_->mapped_file(id);
  });
}

}  // namespace stasis::linux_guest::vm
