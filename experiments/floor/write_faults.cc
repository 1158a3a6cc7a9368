#include "experiments/floor/write_faults.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/check.h"
#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/unique_fd.h"
#include "snapshot/linux/userfaultfd.h"

namespace stasis::experiments {
namespace {

namespace linux_host = snapshot::internal;

constexpr std::size_t kPage = 4096;

class Answering final : public WriteFaultThread {
 public:
  Answering(std::span<std::byte> memory, linux_host::Userfaultfd uffd, UniqueFd stop)
      : memory_(memory), uffd_(std::move(uffd)), stop_(std::move(stop)) {}
  ~Answering() override {
    const std::uint64_t one = 1;
    STASIS_CHECK(::write(stop_.get(), &one, sizeof(one)) == sizeof(one));
    thread_.join();
    (void)uffd_.unregister_range(memory_);
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
  Answering(Answering&&) = delete;
  Answering& operator=(Answering&&) = delete;

  Result<void> begin() {
    STASIS_TRY(uffd_.register_range(memory_));
    STASIS_ASSIGN(thread_,
                  HostThread::start("the thread that answers write faults", [this] { answer(); }));
    return uffd_.protect(memory_);
  }

  Result<std::vector<std::byte*>> take() override {
    const MutexLock lock(mutex_);
    if (failure_) {
      return *failure_;
    }
    for (std::byte* page : written_) {
      STASIS_TRY(uffd_.protect({page, kPage}));
    }
    return std::exchange(written_, {});
  }

 private:
  void answer() {
    std::array<pollfd, 2> waits{{{uffd_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    while (true) {
      if (::poll(waits.data(), waits.size(), -1) < 0) {
        if (errno == EINTR) {
          continue;
        }
        return fail(errno_error(errno, "poll"));
      }
      if ((waits[1].revents & POLLIN) != 0) {
        return;
      }
      if (auto answered = answer_waiting(); !answered) {
        return fail(std::move(answered).error());
      }
    }
  }

  Result<void> answer_waiting() {
    const MutexLock lock(mutex_);
    STASIS_ASSIGN(const std::vector<std::byte*> faults, uffd_.read_faults());
    for (std::byte* const address : faults) {
      const std::size_t page = static_cast<std::size_t>(address - memory_.data()) / kPage * kPage;
      written_.push_back(&memory_[page]);
      STASIS_TRY(uffd_.unprotect(memory_.subspan(page, kPage)));
    }
    return {};
  }

  // Nobody answers faults any more, so nothing may stay protected.
  void fail(Error error) {
    const MutexLock lock(mutex_);
    (void)uffd_.unregister_range(memory_);
    failure_ = std::move(error);
  }

  std::span<std::byte> memory_;
  linux_host::Userfaultfd uffd_;
  UniqueFd stop_;
  Mutex mutex_;
  std::vector<std::byte*> written_ STASIS_GUARDED_BY(mutex_);
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  HostThread thread_;
};

}  // namespace

Result<std::unique_ptr<WriteFaultThread>> WriteFaultThread::start(std::span<std::byte> memory) {
  STASIS_ASSIGN(const linux_host::UserfaultfdFeatures features, linux_host::query_userfaultfd());
  STASIS_ASSIGN(linux_host::Userfaultfd uffd, linux_host::Userfaultfd::open(features));
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.is_open()) {
    return errno_error(errno, "eventfd");
  }
  auto made = std::make_unique<Answering>(memory, std::move(uffd), std::move(stop));
  STASIS_TRY(made->begin());
  return std::unique_ptr<WriteFaultThread>(std::move(made));
}

}  // namespace stasis::experiments
