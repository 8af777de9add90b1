// Every order of what two ends of a pair can do with two messages: posts, bytes that arrive, words that are seen late
// or never, and the end of the pair at either member (a view without the other) while the other goes on as if nothing
// were.
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "ft/core/pair_counter.h"

using regroup::PairCounter;

namespace {

constexpr std::uint64_t kMessages = 2;

struct World {
  PairCounter sender, receiver;
  std::uint64_t sent = 0, wanted = 0;  // posted
  auto operator<=>(const World&) const = default;
};

// What no order may lead to. Empty: fine.
std::string violation(const World& w) {
  const PairCounter &s = w.sender, &r = w.receiver;
  if (r.committed() > w.sent) return "committed what was never sent";
  if (s.settled() > w.wanted) return "settled what nobody takes";
  if (s.settled() > r.prepared()) return "settled what the receiver may lose";
  // The sender goes on without the receiver: what it has not settled fails there, so it must not be committed ever.
  if (r.committed() > s.settled() && !r.ended()) return "the receiver committed what fails at the sender";
  // The receiver goes on without the sender: what it cannot commit any more fails there.
  if (r.ended() && s.settled() > r.prepared()) return "the sender committed what fails at the receiver";
  return {};
}

std::vector<World> successors(const World& w) {
  std::vector<World> next;
  const auto add = [&](auto change) {
    World copy = w;
    change(copy);
    next.push_back(copy);
  };
  if (w.sent < kMessages) add([](World& x) { x.sent = x.sender.post_send(); });
  if (w.wanted < kMessages) add([](World& x) { x.wanted = x.receiver.post_recv(); });
  if (w.receiver.can_cancel_recv())
    add([](World& x) {
      x.receiver.cancel_recv();
      --x.wanted;
    });
  for (std::uint64_t n = 1; n <= kMessages; ++n) {
    if (n <= w.sent && w.receiver.can_prepare(n)) add([n](World& x) { x.receiver.prepare(n); });
    if (n <= w.receiver.prepared()) add([n](World& x) { x.sender.observe_prepared(n); });  // now, late, or repeated
    if (w.sender.can_settle(n)) add([n](World& x) { x.sender.settle(n); });
    if (n <= w.sender.settled()) add([n](World& x) { x.receiver.observe_settled(n); });
    if (w.receiver.can_commit(n)) add([n](World& x) { x.receiver.commit(n); });
  }
  // Views form one line: only one of the two can be in a view without the other.
  if (!w.receiver.ended() && !w.sender.ended()) {
    add([](World& x) { x.sender.end(); });
    add([](World& x) { x.receiver.end(); });
  }
  return next;
}

}  // namespace

TEST_CASE("in no order of events do the two ends of a message end differently") {
  std::set<World> seen;
  std::vector<World> todo = {World{}};
  std::string wrong;
  bool both = false, prepared_alone = false;
  while (!todo.empty() && wrong.empty()) {
    const World w = todo.back();
    todo.pop_back();
    if (!seen.insert(w).second) continue;
    wrong = violation(w);
    both = both || (w.sender.settled() == kMessages && w.receiver.committed() == kMessages);
    prepared_alone = prepared_alone || (w.receiver.ended() && w.receiver.committed() > w.sender.settled());
    for (const World& next : successors(w)) todo.push_back(next);
  }
  CHECK(wrong == "");
  CHECK(both);            // the good end was reached
  CHECK(prepared_alone);  // and the one that the rule about the end is for
  CHECK(seen.size() > 100);
}

TEST_CASE("a pair that has ended settles and prepares nothing more, and commits what was prepared") {
  PairCounter end;
  CHECK(end.post_send() == 1);
  CHECK(end.post_recv() == 1);
  CHECK(end.post_recv() == 2);
  end.observe_prepared(1);
  end.prepare(1);
  CHECK(end.can_settle(1));
  CHECK_FALSE(end.can_commit(1));
  end.end();
  CHECK_FALSE(end.can_settle(1));
  CHECK(end.can_commit(1));
  end.commit(1);
  CHECK_FALSE(end.can_prepare(2));
  CHECK_FALSE(end.can_commit(2));
}
