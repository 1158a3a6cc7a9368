#include "experiments/harness/host_facts.h"

#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

TEST(HostFacts, NamesWhatANumberDependsOn) {
  const HostFacts facts = collect_host_facts("/tmp");
  std::set<std::string> names;
  for (const auto& [name, value] : facts) {
    EXPECT_TRUE(names.insert(name).second) << name << " appears twice";
    EXPECT_FALSE(value.empty()) << name;
  }
  for (const char* name : {"kernel", "cpu", "cpus", "memory", "page_size", "kvm", "file_system",
                           "commit", "build_type", "compiler"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(HostFacts, SayNothingThatIdentifiesTheMachine) {
  for (const auto& [name, value] : collect_host_facts("/tmp")) {
    EXPECT_EQ(name.find("hostname"), std::string::npos);
    EXPECT_EQ(value.find("/home/"), std::string::npos) << name;
  }
}

TEST(HostFacts, TheKindOfKvmIsOneOfTheKnown) {
  const std::set<std::string> known = {"vmx", "svm", "pvm", "none", "unknown"};
  EXPECT_TRUE(known.contains(kvm_kind()));
}

}  // namespace
}  // namespace stasis::experiments
