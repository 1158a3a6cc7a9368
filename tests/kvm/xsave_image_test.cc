#include "kvm/xsave_image.h"

#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>

namespace stasis::kvm {
namespace {

constexpr std::size_t kAvxOffset = 576, kAvxBytes = 256;
constexpr std::size_t kMaskOffset = 832, kMaskBytes = 64;
constexpr std::uint64_t kAll = 0x27;  // x87, SSE, AVX, opmask.

class XsaveImage : public testing::Test {
 protected:
  XsaveImage() {
    put<std::uint16_t>(0, 0x37f);
    put<std::uint32_t>(24, 0x1f80);
    put<std::uint32_t>(28, 0xffff);  // MXCSR_MASK: not state.
    put<std::uint64_t>(kXstateBvOffset, kAll);
  }
  template <typename Word>
  void put(std::size_t offset, Word word) {
    std::memcpy(image_.data() + offset, &word, sizeof(word));
  }
  std::uint64_t cleared() {
    clear_initial_components(image_, host_);
    std::uint64_t word = 0;
    std::memcpy(&word, image_.data() + kXstateBvOffset, sizeof(word));
    return word;
  }

  std::vector<std::byte> image_ = std::vector<std::byte>(kMaskOffset + kMaskBytes);
  std::vector<X86CpuidEntry> host_ = {
      {.function = 0xd, .index = 2, .eax = kAvxBytes, .ebx = kAvxOffset},
      {.function = 0xd, .index = 5, .eax = kMaskBytes, .ebx = kMaskOffset}};
};

TEST_F(XsaveImage, StateThatIsInitialIsNotInUse) {
  EXPECT_EQ(cleared(), 0U);
}

TEST_F(XsaveImage, EachByteOfAComponentKeepsItInUse) {
  struct Part {
    std::size_t offset, bytes;
    std::uint64_t component;
  };
  for (const Part part : {Part{0, 24, 1}, Part{24, 4, 2}, Part{32, 128, 1}, Part{160, 256, 2},
                          Part{kAvxOffset, kAvxBytes, 4}, Part{kMaskOffset, kMaskBytes, 0x20}}) {
    for (std::size_t i = part.offset; i < part.offset + part.bytes; ++i) {
      const std::byte before = image_[i];
      image_[i] ^= std::byte{0x40};
      put<std::uint64_t>(kXstateBvOffset, kAll);
      EXPECT_EQ(cleared(), part.component) << "byte " << i;
      image_[i] = before;
    }
  }
}

TEST_F(XsaveImage, WhatIsNotInUseStaysSo) {
  put<std::uint64_t>(kXstateBvOffset, 1);
  put<std::uint64_t>(kAvxOffset, 1);
  put<std::uint16_t>(0, 0x27f);
  EXPECT_EQ(cleared(), 1U);
}

TEST_F(XsaveImage, AComponentOfUnknownPlaceOrBeyondTheImageIsLeft) {
  host_.pop_back();
  EXPECT_EQ(cleared(), 0x20U);
  host_ = {{.function = 0xd, .index = 5, .eax = kMaskBytes, .ebx = kMaskOffset + 8},
           {.function = 0xd, .index = 2, .eax = 0xffffffff, .ebx = 0xffffffff}};
  put<std::uint64_t>(kXstateBvOffset, kAll);
  EXPECT_EQ(cleared(), 0x24U);
}

TEST_F(XsaveImage, AnImageWithoutAHeaderIsLeft) {
  image_.resize(kXstateBvOffset);
  const std::vector<std::byte> before = image_;
  clear_initial_components(image_, host_);
  EXPECT_EQ(image_, before);
}

}  // namespace
}  // namespace stasis::kvm
