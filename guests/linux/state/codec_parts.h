// What the codec's files share. Private to them: they alone name the generated code of
// schemas/linux_process.capnp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <capnp/list.h>

#include "guests/linux/state/process_state.h"
#include "schemas/linux_process.capnp.h"

namespace stasis::linux_guest::codec {

template <typename Range>
unsigned count_of(const Range& range) {
  return static_cast<unsigned>(range.size());
}

inline capnp::Data::Reader data_of(std::span<const std::byte> bytes) {
  return {static_cast<const kj::byte*>(static_cast<const void*>(bytes.data())), bytes.size()};
}
inline capnp::Data::Reader data_of(const std::string& text) {
  return data_of(std::as_bytes(std::span(text)));
}
inline std::vector<std::byte> bytes_of(capnp::Data::Reader data) {
  const auto bytes = std::as_bytes(std::span(data.begin(), data.size()));
  return {bytes.begin(), bytes.end()};
}
inline std::string text_of(capnp::Data::Reader data) {
  return {static_cast<const char*>(static_cast<const void*>(data.begin())), data.size()};
}
inline std::string text_of(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

// Lists of structs, with what puts and gets an element.
template <typename List, typename Range, typename Put>
void put_all(List list, const Range& values, const Put& put_one) {
  unsigned i = 0;
  for (const auto& value : values) {
    put_one(list[i++], value);
  }
}
template <typename Container, typename List, typename Get>
Container get_all(List list, const Get& get_one) {
  Container values;
  for (const auto& value : list) {
    values.push_back(get_one(value));
  }
  return values;
}

// Lists of numbers.
template <typename List, typename Range>
void put_numbers(List list, const Range& values) {
  unsigned i = 0;
  for (const auto value : values) {
    list.set(i++, value);
  }
}
template <typename Number, typename List>
std::vector<Number> get_numbers(List list) {
  std::vector<Number> values;
  values.reserve(list.size());
  for (const auto value : list) {
    values.push_back(value);
  }
  return values;
}

void put_deadline(schema::OptionalDeadline::Builder out, const std::optional<Deadline>& deadline);
std::optional<Deadline> get_deadline(schema::OptionalDeadline::Reader in);
void put(schema::SignalInfo::Builder out, const SignalInfo& info);
SignalInfo get(schema::SignalInfo::Reader in);
void put(schema::SignalAction::Builder out, const SignalAction& action);
SignalAction get(schema::SignalAction::Reader in);
void put(schema::Thread::Builder out, const Thread& thread);
Thread get(schema::Thread::Reader in);

void put(schema::Inode::Builder out, const InodeState& inode);
InodeState get(schema::Inode::Reader in);
void put(schema::Place::Builder out, const PlaceState& place);
PlaceState get(schema::Place::Reader in);
void put(schema::File::Builder out, const FileState& file);
FileState get(schema::File::Reader in);
void put(schema::Mapping::Builder out, const MappingState& mapping);
MappingState get(schema::Mapping::Reader in);

}  // namespace stasis::linux_guest::codec
