#include "guests/elf_image.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/guests/elf_builder.h"

namespace stasis::guests {
namespace {

using test::ElfBuilder;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ElfImage, GoodFileGivesItsSegmentsInAddressOrder) {
  ElfBuilder builder;
  std::swap(builder.programs[0], builder.programs[1]);
  const std::vector<std::byte> file = builder.build();
  const Result<ElfImage> image = parse_elf(file, "good");
  ASSERT_TRUE(image) << image.error().to_string();
  EXPECT_EQ(image->architecture, Architecture::kX86_64);
  EXPECT_EQ(image->entry, Gpa{ElfBuilder::kCode + 4});
  ASSERT_EQ(image->segments.size(), 2);
  EXPECT_EQ(image->segments[0].range, (GpaRange{Gpa{ElfBuilder::kCode}, 0x80}));
  EXPECT_EQ(image->segments[0].file[0], std::byte{1});
  EXPECT_EQ(image->segments[1].range, (GpaRange{Gpa{ElfBuilder::kData}, 0x2000}));
  EXPECT_EQ(image->segments[1].file.size(), 0x80);
  EXPECT_EQ(image->segments[1].file[0], std::byte{0x81});
  EXPECT_EQ(image->extent(), (GpaRange{Gpa{ElfBuilder::kCode}, 0x3000}));
}

TEST(ElfImage, Arm64FileIsRecognised) {
  ElfBuilder builder;
  builder.header.e_machine = EM_AARCH64;
  const std::vector<std::byte> file = builder.build();
  EXPECT_EQ(parse_elf(file, "arm")->architecture, Architecture::kArm64);
}

TEST(ElfImage, EveryTruncationIsRefused) {
  const std::vector<std::byte> file = ElfBuilder().build();
  for (std::size_t size = 0; size < file.size(); ++size) {
    const Result<ElfImage> image = parse_elf(std::span(file).first(size), "cut");
    ASSERT_FALSE(image) << size;
    EXPECT_EQ(image.error().code, Errc::kCorruption) << size;
    EXPECT_THAT(image.error().message, HasSubstr("cut: "));
  }
}

// Whatever is accepted lies inside the file, is ascending, disjoint, and does not wrap.
void expect_sane(const ElfImage& image, std::span<const std::byte> file) {
  ASSERT_FALSE(image.segments.empty());
  std::uint64_t end = 0;
  bool has_entry = false;
  for (const ElfSegment& segment : image.segments) {
    EXPECT_TRUE(make_range(segment.range.begin, segment.range.size).has_value());
    EXPECT_GE(segment.range.begin.value, end);
    end = segment.range.end().value;
    EXPECT_LE(segment.file.size(), segment.range.size);
    EXPECT_GE(segment.file.data(), file.data());
    EXPECT_LE(segment.file.data() + segment.file.size(), file.data() + file.size());
    has_entry = has_entry || segment.range.contains(image.entry);
  }
  EXPECT_TRUE(has_entry);
}

TEST(ElfImage, NoByteValueInAHeaderIsTrusted) {
  const std::vector<std::byte> good = ElfBuilder().build();
  const std::size_t headers = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < headers; ++at) {
    for (int value = 0; value < 256; ++value) {
      std::vector<std::byte> file = good;
      file[at] = static_cast<std::byte>(value);
      if (const Result<ElfImage> image = parse_elf(file, "mutated")) {
        expect_sane(*image, file);
        ++accepted;
      } else {
        EXPECT_THAT(image.error().message, HasSubstr("mutated: "));
      }
    }
  }
  EXPECT_GT(accepted, headers) << "at least every unchanged byte is accepted";
}

struct BadElf {
  const char* name;
  void (*spoil)(ElfBuilder&);
  Errc code;
  const char* field;
};

class ElfImageRefusalTest : public ::testing::TestWithParam<BadElf> {};

void PrintTo(const BadElf& bad, std::ostream* out) {
  *out << bad.name;
}

TEST_P(ElfImageRefusalTest, NamesFileAndField) {
  ElfBuilder builder;
  GetParam().spoil(builder);
  const std::vector<std::byte> file = builder.build();
  const Result<ElfImage> image = parse_elf(file, "some.elf");
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, GetParam().code) << image.error().message;
  EXPECT_THAT(image.error().message, AllOf(HasSubstr("some.elf: "), HasSubstr(GetParam().field)));
}

INSTANTIATE_TEST_SUITE_P(
    All, ElfImageRefusalTest,
    ::testing::Values(
        BadElf{"WrongMagic", [](ElfBuilder& b) { b.header.e_ident[0] = 'M'; }, Errc::kCorruption,
               "not an ELF"},
        BadElf{"ThirtyTwoBit", [](ElfBuilder& b) { b.header.e_ident[EI_CLASS] = ELFCLASS32; },
               Errc::kMismatch, "e_ident"},
        BadElf{"BigEndian", [](ElfBuilder& b) { b.header.e_ident[EI_DATA] = ELFDATA2MSB; },
               Errc::kMismatch, "little-endian"},
        BadElf{"IdentVersion", [](ElfBuilder& b) { b.header.e_ident[EI_VERSION] = 2; },
               Errc::kMismatch, "e_version"},
        BadElf{"Version", [](ElfBuilder& b) { b.header.e_version = 2; }, Errc::kMismatch,
               "e_version"},
        BadElf{"Machine", [](ElfBuilder& b) { b.header.e_machine = EM_RISCV; }, Errc::kMismatch,
               "e_machine is 243"},
        BadElf{"Shared", [](ElfBuilder& b) { b.header.e_type = ET_DYN; }, Errc::kMismatch,
               "e_type"},
        BadElf{"Object", [](ElfBuilder& b) { b.header.e_type = ET_REL; }, Errc::kMismatch,
               "e_type is 1"},
        BadElf{"HeaderSize", [](ElfBuilder& b) { b.header.e_ehsize = 63; }, Errc::kCorruption,
               "e_ehsize"},
        BadElf{"EntrySize", [](ElfBuilder& b) { b.header.e_phentsize = 32; }, Errc::kCorruption,
               "e_phentsize"},
        BadElf{"NoProgramHeaders", [](ElfBuilder& b) { b.programs.clear(); }, Errc::kCorruption,
               "e_phnum is 0"},
        BadElf{"TooManyProgramHeaders", [](ElfBuilder& b) { b.header.e_phnum = 65; },
               Errc::kCorruption, "e_phnum is 65"},
        BadElf{"ProgramHeadersOutside", [](ElfBuilder& b) { b.header.e_phoff = 0x2f0; },
               Errc::kCorruption, "e_phoff"},
        BadElf{"ProgramHeadersWrap", [](ElfBuilder& b) { b.header.e_phoff = UINT64_MAX - 8; },
               Errc::kCorruption, "e_phoff"},
        BadElf{"NothingToLoad",
               [](ElfBuilder& b) {
                 b.programs[0].p_type = PT_NOTE;
                 b.programs[1].p_memsz = b.programs[1].p_filesz = 0;
               },
               Errc::kCorruption, "PT_LOAD"},
        BadElf{"Dynamic", [](ElfBuilder& b) { b.programs[1].p_type = PT_DYNAMIC; }, Errc::kMismatch,
               "program header 1.p_type"},
        BadElf{"Interpreter", [](ElfBuilder& b) { b.programs[1].p_type = PT_INTERP; },
               Errc::kMismatch, "dynamic executable"},
        BadElf{"ThreadLocal", [](ElfBuilder& b) { b.programs[1].p_type = PT_TLS; }, Errc::kMismatch,
               "thread-local"},
        BadElf{"FileLargerThanMemory", [](ElfBuilder& b) { b.programs[0].p_memsz = 0x7f; },
               Errc::kCorruption, "p_memsz"},
        BadElf{"OffsetOutside", [](ElfBuilder& b) { b.programs[1].p_offset = 0x281; },
               Errc::kCorruption, "program header 1.p_offset"},
        BadElf{"OffsetWraps", [](ElfBuilder& b) { b.programs[1].p_offset = UINT64_MAX; },
               Errc::kCorruption, "p_offset"},
        BadElf{"PhysicalDiffers", [](ElfBuilder& b) { b.programs[1].p_vaddr += 0x1000; },
               Errc::kMismatch, "p_paddr"},
        BadElf{"AddressWraps",
               [](ElfBuilder& b) {
                 b.programs[1].p_vaddr = b.programs[1].p_paddr = UINT64_MAX - 0x1000;
               },
               Errc::kOutOfRange, "wraps"},
        BadElf{"Overlap",
               [](ElfBuilder& b) {
                 b.programs[1].p_vaddr = b.programs[1].p_paddr = ElfBuilder::kCode + 0x7f;
               },
               Errc::kCorruption, "overlap"},
        BadElf{"EntryOutside", [](ElfBuilder& b) { b.header.e_entry = ElfBuilder::kCode + 0x80; },
               Errc::kOutOfRange, "e_entry"},
        BadElf{"EntryInData", [](ElfBuilder& b) { b.header.e_entry = ElfBuilder::kData; },
               Errc::kOutOfRange, "e_entry"}),
    [](const ::testing::TestParamInfo<BadElf>& param) { return param.param.name; });

}  // namespace
}  // namespace stasis::guests
