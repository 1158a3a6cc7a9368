#include "guests/guest_files.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::guests {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A directory that STASIS_GUESTS names, and that goes away with the test.
class GuestFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "stasis-guests-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    ASSERT_EQ(setenv("STASIS_GUESTS", directory_.c_str(), 1), 0);
  }
  void TearDown() override {
    unsetenv("STASIS_GUESTS");
    fs::remove_all(directory_);
  }
  fs::path put(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }
  fs::path directory_;
};

TEST_F(GuestFilesTest, NamesAreFoundInTheConfiguredDirectoryFirst) {
  put("hello", "mine");
  const Result<fs::path> found = find_guest("hello");
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(*found, directory_ / "hello");
  EXPECT_THAT(list_guests(), Contains("hello"));
}

TEST_F(GuestFilesTest, PathsAreTakenAsTheyAre) {
  const fs::path file = put("own.elf", "x");
  EXPECT_EQ(*find_guest(file.string()), file);
  EXPECT_EQ(find_guest(file.string() + ".not").error().code, Errc::kNotFound);
  EXPECT_EQ(find_guest(directory_.string()).error().code, Errc::kNotFound);
}

TEST_F(GuestFilesTest, UnknownNamesListDirectoriesAndGuests) {
  put("alpha", "x");
  const Error error = find_guest("omega").error();
  EXPECT_EQ(error.code, Errc::kNotFound);
  EXPECT_THAT(error.message, HasSubstr(directory_.string()));
  EXPECT_THAT(error.message, HasSubstr("alpha"));
  EXPECT_EQ(find_guest("").error().code, Errc::kNotFound);
}

TEST_F(GuestFilesTest, ImagesAreReadWhole) {
  const std::string content(
      "\x7f"
      "ELF\0\xff",
      6);
  const Result<std::vector<std::byte>> bytes = read_guest_image(put("image", content));
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  ASSERT_EQ(bytes->size(), content.size());
  EXPECT_EQ((*bytes)[5], std::byte{0xff});
  EXPECT_TRUE(read_guest_image(put("empty", ""))->empty());
}

TEST_F(GuestFilesTest, UnreadableImagesSayWhy) {
  EXPECT_EQ(read_guest_image(directory_ / "none").error().code, Errc::kNotFound);
  EXPECT_FALSE(read_guest_image(directory_));
  const fs::path huge = put("huge", "");
  fs::resize_file(huge, (std::uint64_t{256} << 20) + 1);
  EXPECT_EQ(read_guest_image(huge).error().code, Errc::kOutOfRange);
}

#ifdef STASIS_HAS_GUEST_PROGRAMS
TEST(GuestFiles, ProgramsOfTheProjectAreFoundByName) {
  for (const char* const name : {"hello", "kvstore", "pagetoucher", "torture"}) {
    EXPECT_TRUE(find_guest(name)) << name;
  }
}
#endif

}  // namespace
}  // namespace stasis::guests
