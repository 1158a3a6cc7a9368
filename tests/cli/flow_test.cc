// The whole way of a snapshot through the program: run, save, restore, change, save the
// difference, inspect, verify, diff, merge. On the mock everywhere, on KVM where the host has it.
#include "tests/cli/flow.h"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

INSTANTIATE_TEST_SUITE_P(Backends, Flow,
                         ::testing::Values(Flavour{"mock", "toy:counter", "mock"},
                                           Flavour{"kvm", "hello", "kvm"}),
                         [](const auto& flavour) { return flavour.param.name; });

TEST_P(Flow, AGuestBecomesReadyAndAnswersRequestsInOrder) {
  const nlohmann::json json =
      ok(guest({"run", GetParam().guest, "--request", "one", "--request", "two"}));
  EXPECT_GT(json.at("ready_ns").get<std::int64_t>(), 0);
  ASSERT_EQ(json.at("requests").size(), 2U);
  if (GetParam().backend == "mock") {
    EXPECT_EQ(response(json.at("requests"), 0), "count=00000001");
    EXPECT_EQ(response(json.at("requests"), 1), "count=00000002");
  } else {
    EXPECT_EQ(response(json.at("requests"), 0), "one");
    EXPECT_EQ(response(json.at("requests"), 1), "two");
  }
  EXPECT_THAT(json.at("console").get<std::string>(), HasSubstr("hello"));
}

TEST_P(Flow, RequestsComeFromFilesAndFromStandardInput) {
  write_file(directory_ / "request", "from a file");
  const Outcome outcome = run({"run", GetParam().guest, "--backend", GetParam().backend, "--json",
                               "--request", "@request", "--request", "-", "--request", "@@at"},
                              {.directory = directory_.path(), .input = "from a pipe"});
  const nlohmann::json json = ok(outcome);
  ASSERT_EQ(json.at("requests").size(), 3U);
  EXPECT_EQ(json.at("requests").at(0).at("request_bytes"), 11);
  EXPECT_EQ(json.at("requests").at(1).at("request_bytes"), 11);
  EXPECT_EQ(json.at("requests").at(2).at("request_bytes"), 3);
}

TEST_P(Flow, ARecordedWorkingSetIsUsedUntilItDoesNotFitAnyMore) {
  save_warm("warm");
  const std::vector<std::string> with_set = {"restore",     "warm",      "--policy",
                                             "working-set", "--request", "again"};
  const auto populated = [&](const Outcome& outcome) {
    return ok(outcome).at("trials").at(0).at("counters").at("populated_bytes").get<std::uint64_t>();
  };
  // Without one, it is the lazy policy.
  EXPECT_EQ(populated(guest(with_set)), 0U);
  const nlohmann::json recorded =
      ok(guest({"restore", "warm", "--request", "again", "--record-working-set"}));
  EXPECT_GT(recorded.at("working_set").at("written_bytes").get<std::uint64_t>(), 0U);
  EXPECT_LT(recorded.at("working_set").at("written_bytes").get<std::uint64_t>(), 8U << 20U);
  Outcome outcome = guest(with_set);
  EXPECT_GT(populated(outcome), 0U);  // How much, the guest's speed decides.
  EXPECT_THAT(outcome.err, Not(HasSubstr("warning: ")));
  const nlohmann::json inspected = ok(stasis({"inspect", "warm", "--json"}));
  EXPECT_EQ(inspected.at("working_set").at("written_bytes"),
            recorded.at("working_set").at("written_bytes"));
  EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 0);

  // Damaged, or another snapshot's: a warning, and the answer all the same.
  const std::string file = directory_ / "warm/working-set.capnp";
  std::string bytes = read_file(file);
  const std::string whole = bytes;
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x40);
  write_file(file, bytes);
  outcome = guest(with_set);
  EXPECT_EQ(populated(outcome), 0U);
  EXPECT_THAT(outcome.err, HasSubstr("warning: "));
  EXPECT_THAT(outcome.err, HasSubstr("warm/working-set.capnp"));
  EXPECT_TRUE(
      ok(stasis({"inspect", "warm", "--json"})).at("working_set").contains("unusable_because"));
  save_warm("other");
  write_file(directory_ / "other/working-set.capnp", whole);
  std::vector<std::string> of_other = with_set;
  of_other[1] = "other";
  outcome = guest(of_other);
  EXPECT_EQ(populated(outcome), 0U);
  EXPECT_THAT(outcome.err, HasSubstr("belongs to snapshot"));
}

TEST_P(Flow, AWorkingSetIsRecordedOnlyWhereMemoryShowsIt) {
  save_warm("warm");
  const Outcome eager = guest({"restore", "warm", "--policy", "eager", "--record-working-set"});
  EXPECT_EQ(eager.exit_code, 2);
  EXPECT_THAT(eager.json().at("error").at("message").get<std::string>(),
              HasSubstr("--policy lazy"));
  EXPECT_EQ(guest({"restore", "warm", "--repeat", "2", "--record-working-set"}).exit_code, 2);
  EXPECT_FALSE(exists(directory_ / "warm/working-set.capnp"));
}

TEST_P(Flow, EveryPolicyLayoutAndCodecBringsTheSameGuestBack) {
  const std::vector<std::vector<std::string>> forms = {
      {},
      {"--layout", "packed"},
      {"--compress", "lz4"},
      {"--layout", "packed", "--compress", "lz4", "--chunk", "4K"},
      {"--chunk", "2M", "--save-threads", "2"}};
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const std::string name = "form" + std::to_string(i);
    save_warm(name, forms[i]);
    for (const std::vector<std::string>& policy : std::vector<std::vector<std::string>>{
             {"--policy", "lazy"},
             {"--policy", "eager"},
             {"--policy", "eager", "--threads", "4", "--verify", "off"},
             {"--policy", "working-set"},
             {"--policy", "pagecache-prefetch"}}) {
      std::vector<std::string> arguments = {"restore", name, "--request", "again"};
      arguments.insert(arguments.end(), policy.begin(), policy.end());
      const nlohmann::json json = ok(guest(arguments));
      const std::string expected = GetParam().backend == "mock" ? "count=00000002" : "again";
      EXPECT_EQ(response(json.at("trials").at(0).at("requests"), 0), expected) << name;
      EXPECT_GT(
          json.at("trials").at(0).at("milestones_ns").at("first_response").get<std::int64_t>(), 0);
    }
  }
}

TEST_P(Flow, EveryPolicyThatThisHostHasBringsTheSameGuestBackWithARecordAndWithout) {
  save_warm("raw");
  save_warm("packed", {"--layout", "packed", "--compress", "lz4"});
  std::vector<std::string> policies;
  const nlohmann::json doctor =
      stasis({"doctor", "--backend", GetParam().backend, "--json"}).json();
  for (const auto& policy : doctor.at("policies")) {
    if (policy.at("available").get<bool>()) {
      policies.push_back(policy.at("name").get<std::string>());
    } else {
      EXPECT_FALSE(policy.at("reason").get<std::string>().empty());
    }
  }
  const bool can_record = std::find(policies.begin(), policies.end(), "uffd") != policies.end();
  for (const std::string name : {"raw", "packed"}) {
    for (const bool recorded : {false, true}) {
      if (recorded && can_record) {
        const nlohmann::json trace = ok(guest({"trace", "record", name, "--request", "again"}));
        EXPECT_GT(trace.at("accesses").get<std::uint64_t>(), 0U);
      }
      for (const std::string& policy : policies) {
        SCOPED_TRACE(name + ", " + policy);
        const nlohmann::json json =
            ok(guest({"restore", name, "--request", "again", "--policy", policy}));
        const std::string expected = GetParam().backend == "mock" ? "count=00000002" : "again";
        const auto& trial = json.at("trials").at(0);
        EXPECT_EQ(response(trial.at("requests"), 0), expected);
        const bool fetches = policy.starts_with("reap") || policy == "faasnap";
        if (fetches && can_record) {
          EXPECT_EQ(trial.at("counters").at("fetched_bytes").get<std::uint64_t>() > 0, recorded);
        }
      }
    }
  }
}

TEST_P(Flow, TheAutomaticPolicyExplainsItself) {
  save_warm("warm");
  const nlohmann::json json =
      ok(guest({"restore", "warm", "--request", "again", "--policy", "auto", "--explain"}));
  EXPECT_THAT(json.at("policy_reasons").back().get<std::string>(),
              HasSubstr("therefore the policy is lazy"));
  EXPECT_EQ(guest({"restore", "warm", "--explain"}).exit_code, 2);
}

TEST_P(Flow, TheAutomaticTrackerExplainsItself) {
  save_warm("warm");
  const nlohmann::json restored = ok(guest({"restore", "warm", "--request", "again", "--tracker",
                                            "auto", "--explain", "--save", "changed", "--diff"}));
  const std::string chosen = restored.at("dirty").at("chosen");
  EXPECT_EQ(restored.at("dirty").at("tracker"), "auto");
  EXPECT_EQ(restored.at("tracker_reasons").back(), "therefore the tracker is " + chosen);
  EXPECT_EQ(stasis({"verify", "changed"}).exit_code, 0);

  const nlohmann::json run = ok(guest({"run", GetParam().guest, "--memory", "16M", "--tracker",
                                       "auto", "--expect-dirty", "16M", "--explain"}));
  EXPECT_THAT(run.at("tracker_reasons").at(1).get<std::string>(),
              HasSubstr("of which 4096 are expected to be written"));
  EXPECT_EQ(guest({"run", GetParam().guest, "--explain"}).exit_code, 2);
  EXPECT_THAT(run_text({"run", GetParam().guest, "--memory", "16M", "--tracker", "auto"}).out,
              HasSubstr("(tracker 'auto', which is "));
}

TEST_P(Flow, APolicyOfOnesOwnIsAFile) {
  save_warm("warm");
  write_file(directory_ / "mine.json",
             R"({"format": 1, "name": "mine", "memory": "mapped", "read_ahead": "random"})");
  const nlohmann::json json =
      ok(guest({"restore", "warm", "--request", "again", "--policy", "mine.json"}));
  EXPECT_EQ(json.at("policy"), "mine.json");
  EXPECT_EQ(ok(stasis({"policy", "show", "mine.json", "--json"})).at("policy").at("read_ahead"),
            "random");
  write_file(directory_ / "bad.json",
             R"({"format": 1, "name": "bad", "memory": "filled", "read_ahead": "random"})");
  const Outcome bad = guest({"restore", "warm", "--policy", "bad.json"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.json().at("error").at("message").get<std::string>(), HasSubstr("read_ahead"));
}

TEST_P(Flow, MilestonesAreInOrderAndRepeatsAreSummarised) {
  save_warm("warm");
  const nlohmann::json json = ok(guest({"restore", "warm", "--repeat", "3", "--request", "again"}));
  ASSERT_EQ(json.at("trials").size(), 3U);
  for (const auto& trial : json.at("trials")) {
    const auto& at = trial.at("milestones_ns");
    EXPECT_EQ(at.at("begin"), 0);
    // The VM is created while the header is read.
    for (const char* before : {"header", "vm_created", "mapped", "state"}) {
      EXPECT_LE(at.at(before).get<std::int64_t>(), at.at("vcpu_enter").get<std::int64_t>());
    }
    EXPECT_LE(at.at("vcpu_enter").get<std::int64_t>(), at.at("first_response").get<std::int64_t>());
  }
  EXPECT_EQ(json.at("summary").at("begin_to").at("first_response").at("n"), 3);
  const auto& response = json.at("summary").at("begin_to").at("first_response");
  EXPECT_LE(response.at("min_ns"), response.at("median_ns"));
  EXPECT_LE(response.at("median_ns"), response["p90_ns"]);
}

TEST_P(Flow, ResidencyIsSampledOnlyWhenItIsAskedFor) {
  save_warm("warm");
  for (const std::string policy : {"lazy", "eager"}) {
    const std::vector<std::string> plain = {"restore", "warm",      "--policy",
                                            policy,    "--request", "again"};
    std::vector<std::string> sampled = plain;
    sampled.insert(sampled.end(), {"--sample-residency", "1ms"});
    const nlohmann::json without = ok(guest(plain)).at("trials").at(0);
    EXPECT_TRUE(without.at("milestones_ns").at("resident_p90").is_null());
    EXPECT_FALSE(without.contains("residency"));
    const nlohmann::json with = ok(guest(sampled)).at("trials").at(0);
    const auto& at = with.at("milestones_ns");
    EXPECT_GE(with.at("residency").at("samples"), 2);
    EXPECT_GT(with.at("residency").at("resident_bytes"), 0);
    EXPECT_GE(with.at("residency").at("resident_p90_error_ns"), 0);
    EXPECT_GE(at.at("resident_p90"), at.at("prefetched"));
    EXPECT_LE(at.at("resident_p90"), at.at("first_response"));
  }
}

TEST_P(Flow, TheSpawnMilestoneIsTheParentsClock) {
  save_warm("warm");
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  const std::int64_t ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  const nlohmann::json json = ok(guest({"restore", "warm", "--spawned-at", std::to_string(ns)}));
  EXPECT_LT(json.at("trials").at(0).at("milestones_ns").at("spawn").get<std::int64_t>(), 0);
}

TEST_P(Flow, InvokePrintsTheAnswerAloneAndTheSameInJson) {
  save_warm("warm");
  const std::vector<std::string> invoke = {"invoke", "warm",      "--request",
                                           "two",    "--backend", GetParam().backend};
  const std::string answer = GetParam().backend == "mock" ? "count=00000002" : "two";
  const Outcome text = stasis(invoke);
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_EQ(text.out, answer);
  EXPECT_EQ(text.err, "");
  const nlohmann::json json = ok(guest({"invoke", "warm", "--request", "two"}));
  EXPECT_EQ(response(json.at("trials").at(0).at("requests"), 0), answer);
}

TEST_P(Flow, AnAnswerThatCannotBeWrittenIsAnError) {
  save_warm("warm");
  const Outcome outcome =
      run({"invoke", "warm", "--request", "two", "--backend", GetParam().backend},
          {.directory = directory_.path(), .stdout_path = "/dev/full"});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write to standard output"));
}

TEST_P(Flow, DifferencesChainAndMergeToTheSameMachine) {
  save_warm("warm");
  for (const std::string tracker : {"", "compare", "auto"}) {
    const std::string one = "one" + tracker;
    const std::string two = "two" + tracker;
    std::vector<std::string> with = {};
    if (!tracker.empty()) {
      with = {"--tracker", tracker};
    }
    const auto save = [&](const std::string& from, const std::string& to) {
      std::vector<std::string> arguments = {"restore", from,     "--policy", "eager", "--request",
                                            "more",    "--save", to,         "--diff"};
      arguments.insert(arguments.end(), with.begin(), with.end());
      return ok(guest(arguments));
    };
    const nlohmann::json first = save("warm", one);
    EXPECT_GT(first.at("saved").at("written_bytes").get<std::uint64_t>(), 0U);
    EXPECT_LT(first.at("saved").at("dirty_bytes").get<std::uint64_t>(), 4U << 20U) << tracker;
    save(one, two);
    EXPECT_EQ(stasis({"verify", two}).exit_code, 0);
    EXPECT_EQ(ok(stasis({"inspect", two, "--json"})).at("chain").size(), 3U);
    for (const std::string policy : {"lazy", "eager"}) {
      const nlohmann::json json =
          ok(guest({"restore", two, "--policy", policy, "--request", "last"}));
      EXPECT_EQ(response(json.at("trials").at(0).at("requests"), 0),
                GetParam().backend == "mock" ? "count=00000004" : "last");
    }
    ok(stasis({"merge", two, "--out", "flat" + tracker, "--json"}));
    const nlohmann::json flat = ok(stasis({"inspect", "flat" + tracker, "--json"}));
    EXPECT_EQ(flat.at("chain").size(), 1U);
    EXPECT_EQ(flat.at("parent_id"), nullptr);
    const Outcome same = stasis({"diff", two, "flat" + tracker, "--json"});
    EXPECT_EQ(same.exit_code, 0) << same.out;
    EXPECT_TRUE(same.json().at("equal").get<bool>());
    EXPECT_EQ(ok(stasis({"verify-diff", two, "flat" + tracker, "--json"})).at("missed_pages"), 0);
    // Of another pause: an answer, and a bad one.
    EXPECT_EQ(stasis({"verify-diff", one, two}).exit_code, 1);
    EXPECT_EQ(stasis({"verify-diff", "warm", two}).exit_code, 2);
    const Outcome changed = stasis({"diff", "warm", two, "--json"});
    EXPECT_EQ(changed.exit_code, 1) << changed.out;
    EXPECT_GT(changed.json().at("different_bytes").get<std::uint64_t>(), 0U);
  }
}

TEST_P(Flow, InspectShowsWhatAPersonWantsToKnow) {
  save_warm("warm", {"--compress", "lz4"});
  const Outcome text = stasis({"inspect", "warm"});
  EXPECT_EQ(text.exit_code, 0);
  for (const char* word : {"16 MiB", "created", "zero", "doorbell", "vCPU 0"}) {
    EXPECT_THAT(text.out, HasSubstr(word));
  }
  const nlohmann::json json = ok(stasis({"inspect", "warm", "--json", "--registers"}));
  EXPECT_EQ(json.at("labels").at("guest"), GetParam().guest);
  EXPECT_EQ(json.at("memory_bytes"), 16U << 20U);
  EXPECT_EQ(json.at("codec"), "lz4");
  EXPECT_EQ(json.at("vcpus"), 1);
  EXPECT_FALSE(json.at("vcpu_states").at(0).at("registers").empty());
}

// By name -> value, as `inspect --registers` shows them.
nlohmann::json registers_of(const nlohmann::json& inspection) {
  return inspection.at("vcpu_states").at(0).at("registers");
}

TEST_P(Flow, DiffNamesEveryRegisterThatDiffersAndNoOther) {
  save_warm("a");
  save_warm("b", {"--request", "more"});
  const nlohmann::json a = registers_of(ok(stasis({"inspect", "a", "--json", "--registers"})));
  const nlohmann::json b = registers_of(ok(stasis({"inspect", "b", "--json", "--registers"})));
  std::map<std::string, std::string> expected;
  for (const auto& [name, value] : a.items()) {
    if (b.at(name) != value) {
      expected["vcpu0." + name] = b.at(name).get<std::string>();
    }
  }
  ASSERT_FALSE(expected.empty()) << "the test would prove nothing";
  std::map<std::string, std::string> seen;
  const nlohmann::json diff = stasis({"diff", "a", "b", "--json"}).json();
  for (const nlohmann::json& field : diff.at("fields")) {
    const auto name = field.at("name").get<std::string>();
    if (name.rfind("vcpu0.", 0) == 0 && a.contains(name.substr(6))) {
      seen[name] = field.at("b").get<std::string>();
    }
  }
  EXPECT_EQ(seen, expected);
}

TEST_P(Flow, ASnapshotIsNeverReplacedWithoutForce) {
  const nlohmann::json first = save_warm("warm");
  const Outcome refused = guest({"run", GetParam().guest, "--memory", "16M", "--save", "warm"});
  EXPECT_EQ(refused.exit_code, 5);
  EXPECT_EQ(refused.json().at("error").at("code"), "already_exists");
  EXPECT_EQ(ok(stasis({"inspect", "warm", "--json"})).at("id"), first.at("saved").at("id"));
  const nlohmann::json second = save_warm("warm", {"--force"});
  EXPECT_EQ(ok(stasis({"inspect", "warm", "--json"})).at("id"), second.at("saved").at("id"));
  EXPECT_EQ(list(directory_.path()), std::vector<std::string>{"warm"});
}

TEST_P(Flow, SeveralVcpusComeBack) {
  save_warm("warm", {"--vcpus", "4"});
  const nlohmann::json json = ok(guest({"restore", "warm", "--request", "again"}));
  EXPECT_EQ(json.at("trials").at(0).at("requests").size(), 1U);
  EXPECT_EQ(ok(stasis({"inspect", "warm", "--json"})).at("vcpus"), 4);
}

TEST_P(Flow, ATrackerReportsWhatTheRequestsDirtied) {
  const nlohmann::json json =
      ok(guest({"run", GetParam().guest, "--request", "one", "--tracker", "compare"}));
  EXPECT_EQ(json.at("dirty").at("tracker"), "compare");
  const auto bytes = json.at("dirty").at("bytes").get<std::uint64_t>();
  EXPECT_GT(bytes, 0U);
  EXPECT_LT(bytes, 1U << 20U);
}

TEST(Toys, ExitCodesOfGuestsAreReported) {
  const Outcome outcome =
      run({"run", "toy:exit", "--backend", "mock", "--until", "exit", "--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.json().at("exit_code"), 3);
}

TEST(Toys, AGuestThatExitsBeforeItIsReadyIsAFault) {
  const Outcome outcome = run({"run", "toy:exit", "--backend", "mock"});
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.err, HasSubstr("exited with code 3"));
}

TEST(Toys, AGuestThatFailsSaysWhyInItsOwnWords) {
  EXPECT_EQ(run({"run", "toy:fault", "--backend", "mock"}).exit_code, 6);
  const Outcome panic = run({"run", "toy:panic", "--backend", "mock", "--json"});
  EXPECT_EQ(panic.exit_code, 6);
  EXPECT_EQ(panic.json().at("error").at("code"), "guest_fault");
  EXPECT_THAT(panic.json().at("error").at("message").get<std::string>(),
              HasSubstr("a toy guest gives up on purpose"));
}

TEST(Toys, WaitsEndWithATimeoutThatSaysWhatWasWaitedFor) {
  const Outcome spin = run({"run", "toy:spin", "--backend", "mock", "--timeout", "200ms"});
  EXPECT_EQ(spin.exit_code, 7);
  EXPECT_THAT(spin.err, HasSubstr("'toy:spin' was not ready after 200 ms"));
  const Outcome deaf =
      run({"run", "toy:deaf", "--backend", "mock", "--timeout", "200ms", "--request", "hello?"});
  EXPECT_EQ(deaf.exit_code, 7);
  EXPECT_THAT(deaf.err, HasSubstr("request 1"));
}

}  // namespace
}  // namespace stasis::cli::test
