// An epoll instance: which files are watched for what.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

// Value.
struct EpollWatch {
  std::weak_ptr<File> file;
  std::uint32_t events = 0;  // EPOLLIN, ... with EPOLLET and EPOLLONESHOT.
  std::uint64_t data = 0;
  std::uint64_t reported_activity = 0;  // Edge-triggered: of the last report.
  std::uint32_t reported_events = 0;
};

struct EpollReady {
  std::uint32_t events = 0;
  std::uint64_t data = 0;
};

class EpollFile final : public File {
 public:
  explicit EpollFile(int flags) : File(FileKind::kEpoll, flags, "anon_inode:[eventpoll]") {}
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override;
  [[nodiscard]] std::optional<Deadline> deadline() const override;

  // EPOLL_CTL_ADD, _MOD and _DEL of a descriptor and its file.
  [[nodiscard]] SysResult control(int operation, int descriptor, const std::shared_ptr<File>& file,
                                  EpollReady wanted);
  // At most count_max; marks edges and one-shots as reported.
  [[nodiscard]] std::vector<EpollReady> collect(std::size_t count_max);
  // Takes the descriptor out if its file is no longer open anywhere.
  void forget_closed(int descriptor);
  // One epoll may watch another, which then neither watches a third nor did so ever: no cycles, and
  // no cost that grows with the depth.
  [[nodiscard]] bool watches_epoll() const;
  void mark_watched() { was_watched_ = true; }
  [[nodiscard]] bool was_watched() const { return was_watched_; }
  [[nodiscard]] bool watches_device() const;  // /dev/stasis, to be read.
  [[nodiscard]] const std::map<int, EpollWatch>& watches() const { return watches_; }
  void restore(std::map<int, EpollWatch> watches) { watches_ = std::move(watches); }

 private:
  [[nodiscard]] static std::uint32_t ready_events(const EpollWatch& watch, const File& file);
  std::map<int, EpollWatch> watches_;
  bool was_watched_ = false;
  int next_ = 0;  // Where collect() goes on: nobody starves.
};

}  // namespace stasis::linux_guest
