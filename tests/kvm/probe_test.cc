// What make_backend() says about hosts that can and cannot run VMs.
#include "kvm/probe.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/host_facts.h"
#include "tests/kvm/kvm_fixture.h"
#include "tests/support/must.h"

namespace stasis::kvm {
namespace {

Error error_for(const std::string& path) {
  Options options;
  options.device_path = path;
  auto backend = make_backend(options);
  return backend ? Error{} : backend.error();
}

TEST(KvmProbeTest, MissingDeviceIsNotFoundAndTheCureIsNamed) {
  const Error error = error_for("/dev/no-such-kvm");
  EXPECT_EQ(error.code, Errc::kNotFound);
  EXPECT_THAT(error.message, testing::HasSubstr("/dev/no-such-kvm does not exist"));
  EXPECT_THAT(error.message, testing::HasSubstr("kvm_intel"));
}

TEST(KvmProbeTest, DeviceThatIsNotKvmIsNotSupported) {
  const Error error = error_for("/dev/null");
  EXPECT_EQ(error.code, Errc::kNotSupported);
  EXPECT_THAT(error.message, testing::HasSubstr("/dev/null is not a KVM device"));
}

TEST(KvmProbeTest, ForbiddenDeviceNamesTheGroup) {
  std::string path = testing::TempDir() + "stasis-kvm-XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  ::close(fd);
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  // Root may open everything; a thread with another file-system identity may not.
  std::thread([&path] {
    ::setfsuid(65534);
    const Error error = error_for(path);
    EXPECT_EQ(error.code, Errc::kIo);
    EXPECT_THAT(error.message, testing::HasSubstr("no permission to open"));
    EXPECT_THAT(error.message, testing::HasSubstr("usermod -aG kvm"));
  }).join();
  ::unlink(path.c_str());
}

class KvmCapabilitiesTest : public KvmTest {};

TEST_F(KvmCapabilitiesTest, DescribeThisHost) {
  const Capabilities& has = capabilities();
  EXPECT_EQ(has.kind, BackendKind::kKvm);
  EXPECT_EQ(has.architecture, Architecture::kX86_64);
  EXPECT_EQ(has.vcpus_max, std::min(kVcpusMax, has.host_vcpus_max));
  EXPECT_TRUE(has.dirty_page_tracking);
  EXPECT_FALSE(has.write_protection);
  EXPECT_TRUE(has.port_io);
  EXPECT_TRUE(std::is_sorted(has.cpu_features.begin(), has.cpu_features.end()));
  EXPECT_THAT(has.cpu_features, testing::Contains("sse2"));
}

TEST_F(KvmCapabilitiesTest, EveryNoteThatIsNotAvailableHasAReason) {
  for (const Availability& note : capabilities().notes) {
    EXPECT_FALSE(note.name.empty());
    EXPECT_EQ(note.reason.empty(), note.available) << note.name;
  }
}

TEST_F(KvmCapabilitiesTest, TooManyAndNoVcpusAreRefusedWithBothLimits) {
  for (const std::uint32_t vcpus : {0U, 33U, 1000000U}) {
    const auto refused = backend().create_vm({.vcpus = vcpus});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, testing::HasSubstr("design's limit is 32"));
    EXPECT_THAT(refused.error().message,
                testing::HasSubstr("KVM allows " + std::to_string(capabilities().host_vcpus_max)));
  }
}

STASIS_X86_CODE(read_features,
                "mov $1, %eax\n xor %ecx, %ecx\n cpuid\n mov %ecx, 0x200000\n mov %edx, 0x200004\n"
                "mov $7, %eax\n xor %ecx, %ecx\n cpuid\n mov %ebx, 0x200008\n mov %ecx, "
                "0x20000c\n" STASIS_X86_HALT)

// The list is not a guess: a guest asks the processor.
TEST_F(KvmCapabilitiesTest, GuestSeesTheFeaturesThatAreListed) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, read_features()));
  expect_halted(must(vcpu->run()));
  const auto words = must(memory->read_object<std::array<std::uint32_t, 4>>(Gpa{0x200000}));
  const auto listed = [this](const char* name) {
    const auto& features = capabilities().cpu_features;
    return std::find(features.begin(), features.end(), name) != features.end();
  };
  EXPECT_EQ(listed("sse2"), (words[1] >> 26U & 1U) != 0);
  EXPECT_EQ(listed("sse4_2"), (words[0] >> 20U & 1U) != 0);
  EXPECT_EQ(listed("aes"), (words[0] >> 25U & 1U) != 0);
  EXPECT_EQ(listed("rdrand"), (words[0] >> 30U & 1U) != 0);
  EXPECT_EQ(listed("fsgsbase"), (words[2] & 1U) != 0);
  EXPECT_EQ(listed("avx2"), (words[2] >> 5U & 1U) != 0);
  EXPECT_EQ(listed("avx512f"), (words[2] >> 16U & 1U) != 0);
  EXPECT_EQ(listed("gfni"), (words[3] >> 8U & 1U) != 0);
}

TEST_F(KvmCapabilitiesTest, ForbiddenAccessKindsAreRefused) {
  for (const Access access : {Access::kNone, Access::kRead, Access::kReadWrite}) {
    auto memory = make_memory({{Gpa{0}, 4 * kMib}});
    auto vm = must(backend().create_vm({.vcpus = 1}));
    EXPECT_EQ(vm->map(*memory, access).error().code, Errc::kNotSupported);
  }
}

TEST_F(KvmCapabilitiesTest, MemoryWithPagesOfAnotherSizeIsRefused) {
  const RegionSpec spec{.range = {Gpa{0}, 4 * kMib}};
  auto memory = must(GuestMemory::create({&spec, 1}, 16384));
  auto vm = must(backend().create_vm({.vcpus = 1}));
  EXPECT_EQ(vm->map(*memory, Access::kReadWriteExecute).error().code, Errc::kNotSupported);
}

}  // namespace
}  // namespace stasis::kvm
