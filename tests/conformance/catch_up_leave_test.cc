// The members leave while another one catches up: whoever is in goes on from what they did, at their step. Where the joiner
// says that it is level as they ask to leave, one change does both, and it is the only one of its view (one run of six).
#include <catch2/catch.hpp>
#include <map>
#include <mutex>
#include <string_view>

#include "tests/conformance/trainer.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

// What the members hold after each step. Threads: any.
class Ledger {
 public:
  // Empty, or what differs from what another member held after this step.
  std::string add(const Group& group, const Trainer& t) {
    const std::string_view bytes(reinterpret_cast<const char*>(t.weights.data()), t.weights.size() * sizeof t.weights[0]);
    const std::uint64_t step = group.steps(), digest = std::hash<std::string_view>()(bytes);
    std::lock_guard lock(mutex_);
    return digests_.emplace(step, digest).first->second == digest ? "" : "other weights after step " + std::to_string(step);
  }
  [[nodiscard]] std::uint64_t last() {
    std::lock_guard lock(mutex_);
    return digests_.empty() ? 0 : digests_.rbegin()->first;
  }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> digests_;
};

}  // namespace

TEST_CASE("all others may leave as a joiner becomes level: it trains on alone, from their state and at their step") {
  const std::string transport = GENERATE(from_range(transports()));
  for (int replayed = 1; replayed <= 4; ++replayed) {
    Training t(transport, 3);
    Ledger ledger;
    REQUIRE(t.world.start() == "");
    REQUIRE(t.run_all(2) == "");
    t.world.at(2).detach();
    t.renew(2);
    std::atomic<bool> came{false};  // or did not
    const auto step = [&](int r) -> std::string {
      const auto got = t.of(r).step(t.world.at(r), r);
      return got ? ledger.add(t.world.at(r), t.of(r)) : got.error().detail;
    };
    const auto results = World::each(t.world.ranks(), [&](int r) -> std::string {
      if (r != 2) {
        while (!came && t.of(2).replayed.load() < static_cast<std::uint64_t>(replayed))
          if (std::string wrong = step(r); !wrong.empty()) return wrong;
        const Status left = t.world.at(r).leave(kBound_s);
        return left ? "" : left.error().detail;
      }
      Options options = t.world.options(2);
      options.join_timeout_s = 3;  // who was not level when they went waits in vain
      const Status joined = t.world.join(2, options);
      came = true;
      if (!joined) return joined.code() == Code::kTimeout ? "" : joined.error().detail;
      Group& group = t.world.at(2);
      if (std::string wrong = ledger.add(group, t.of(2)); !wrong.empty()) return "joined with " + wrong;
      for (int by_itself = 0; by_itself < 3; by_itself += group.view().members.size() == 1)
        if (std::string wrong = step(2); !wrong.empty()) return wrong;
      return group.steps() == ledger.last() ? "" : "at step " + std::to_string(group.steps()) + ", not the last";
    });
    CHECK(results == std::vector<std::string>(3));
  }
}
