// The threads of the process.
#pragma once

#include <cstdint>
#include <map>

#include "guests/linux/kernel/thread.h"

namespace stasis::linux_guest {

constexpr std::size_t kThreadsMax = 512;

// Resource.
class Threads {
 public:
  [[nodiscard]] Thread* find(int id) {
    const auto found = all_.find(id);
    return found == all_.end() ? nullptr : &found->second;
  }
  // Null: the thread whose registers are on the vCPU has ended.
  [[nodiscard]] Thread* loaded() { return find(loaded_); }
  [[nodiscard]] int loaded_id() const { return loaded_; }
  void set_loaded(int id) { loaded_ = id; }
  Thread& add(Thread thread) {
    const int id = thread.id;
    return all_.insert_or_assign(id, std::move(thread)).first->second;
  }
  void remove(int id) { all_.erase(id); }
  void clear() { all_.clear(); }
  [[nodiscard]] std::map<int, Thread>& all() { return all_; }
  [[nodiscard]] const std::map<int, Thread>& all() const { return all_; }
  [[nodiscard]] int next_id() { return ++last_id_; }
  [[nodiscard]] int last_id() const { return last_id_; }
  void set_last_id(int id) { last_id_ = id; }
  [[nodiscard]] std::uint64_t next_order() { return ++last_order_; }
  [[nodiscard]] std::uint64_t last_order() const { return last_order_; }
  void set_last_order(std::uint64_t order) { last_order_ = order; }

 private:
  std::map<int, Thread> all_;
  int loaded_ = 0;
  int last_id_ = 0;
  std::uint64_t last_order_ = 0;
};

}  // namespace stasis::linux_guest
