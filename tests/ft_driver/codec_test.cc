#include "ft/driver/codec.h"

#include <catch2/catch.hpp>

#include "base/rng.h"

using namespace regroup;

namespace {

MemberInfo member(std::uint32_t i) {
  return {{i, i % 2}, {i + 1ull, 77ull * i}, 0x1122334455667788ull + i, "address \0 of " + std::to_string(i)};
}

Decision decision() {
  Decision d;
  d.view = {0xabcdef0123456789ull, 12, {member(0), member(1), member(5)}};
  d.prev = 11;
  d.trim = 1000;
  d.high = 1004;
  d.failed = {{1001, Code::kMismatch, {0, 0}, {5, 1}}, {1003, Code::kCancelled, {}, {}}};
  d.joined = {member(5).inc};
  d.plane = PlaneKind::kNetwork;
  d.shared_banned = true;
  d.planned = true;
  d.reason = "dead:3,join:5";
  return d;
}

std::vector<ToCoordinator> up() {
  return {Hello{"group", 3, member(2), 99, "world=3 window=8", 3, 7, true, Readiness::kLevel, 5},
          Hello{},
          Heartbeat{12, 1000},
          Ready{},
          Ready{Readiness::kFounder, 1ull << 40},
          Wedged{5, {12, 1000, 999, 1004}}, Wedged{5, {12, 1000, 997, 1004, {7, ~0ull, 9}}},
          CutDone{12, 3, 1000},
          Level{3, 1000, true},
          Level{3, 1000, false},
          Suspect{member(1).inc, SuspectKind::kDead},
          Suspect{member(1).inc, SuspectKind::kLink},
          FailOp{12, {1001, Code::kMismatch, {0, 0}, {1, 0}}},
          AskChange{12, true, "cannot map"},
          Leave{}};
}

std::vector<ToMember> down() {
  return {Welcome{3, 12},
          Welcome{3, 12, {member(0), member(2)}},
          Refuse{Code::kConfig, "differs"},
          Wedge{5, decision()},
          Notice{12, 3},
          Fetch{3, 4, 1000, member(0)},
          Install{decision()},
          Install{Decision{}},
          Evicted{3, 13}};
}

// decode(encode(m)) == m, every truncation and extension is refused, and no changed byte does more than change the
// value.
template <class Message, class Decode>
void check_all(const std::vector<Message>& messages, Decode decode) {
  Rng rng(11);
  for (const Message& m : messages) {
    const std::vector<std::byte> bytes = encode(m);
    INFO("message " << m.index());
    const Result<Message> back = decode(bytes);
    REQUIRE(back.ok());
    CHECK(*back == m);
    for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(decode(std::span(bytes).first(n)).code() == Code::kRefused);
    std::vector<std::byte> longer = bytes;
    longer.push_back(std::byte{0});
    CHECK(decode(longer).code() == Code::kRefused);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::vector<std::byte> broken = bytes;
      broken[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
      const Result<Message> other = decode(broken);
      if (other.ok()) CHECK(encode(*other) == broken);  // what is accepted is exactly what was said
    }
    for (int i = 0; i < 200; ++i) {
      std::vector<std::byte> broken = bytes;
      for (int k = 0; k < 3; ++k) broken[rng.below(broken.size())] = static_cast<std::byte>(rng.next());
      (void)decode(broken);
    }
  }
}

}  // namespace

TEST_CASE("every message to the coordinator comes back, and damage is refused or harmless") {
  check_all(up(), decode_to_coordinator);
}

TEST_CASE("every message to a member comes back, and damage is refused or harmless") {
  check_all(down(), decode_to_member);
}

TEST_CASE("the samples cover every message") {
  std::vector<bool> seen_up(std::variant_size_v<ToCoordinator>), seen_down(std::variant_size_v<ToMember>);
  for (const auto& m : up()) seen_up[m.index()] = true;
  for (const auto& m : down()) seen_down[m.index()] = true;
  CHECK(std::find(seen_up.begin(), seen_up.end(), false) == seen_up.end());
  CHECK(std::find(seen_down.begin(), seen_down.end(), false) == seen_down.end());
}

TEST_CASE("how a decision was made comes back: at once, planned, founding") {
  Decision d = decision();
  for (int how = 0; how < 3; ++how) {
    d.planned = how > 0, d.founding = how == 2;
    const auto back = decode_decision(encode(d));
    REQUIRE(back.ok());
    CHECK(*back == d);
  }
}

TEST_CASE("unknown messages and impossible values are refused") {
  CHECK(decode_to_coordinator(std::vector<std::byte>{std::byte{200}}).code() == Code::kRefused);
  CHECK(decode_to_member(std::vector<std::byte>{}).code() == Code::kRefused);
  std::vector<std::byte> level = encode(ToCoordinator{Level{1, 2, true}});
  level.back() = std::byte{2};
  CHECK(decode_to_coordinator(level).code() == Code::kRefused);
  std::vector<std::byte> suspect = encode(ToCoordinator{Suspect{member(1).inc, SuspectKind::kLink}});
  suspect.back() = std::byte{2};
  CHECK(decode_to_coordinator(suspect).code() == Code::kRefused);
}

TEST_CASE("a count that promises more than is there allocates nothing and is refused") {
  std::vector<std::byte> bytes = encode(ToMember{Install{decision()}});
  for (std::size_t i = 0; i < 4; ++i) bytes[1 + 16 + i] = std::byte{0xff};  // tag, log, epoch, then members
  CHECK(decode_to_member(bytes).code() == Code::kRefused);
  bytes[1 + 16 + 1] = std::byte{0x0f};
  bytes[1 + 16 + 2] = bytes[1 + 16 + 3] = std::byte{0};  // 4095, within the bound
  CHECK(decode_to_member(bytes).code() == Code::kRefused);
}

TEST_CASE("texts over the bound are cut by the sender and refused by the reader") {
  const std::string big(kMaxTextBytes + 100, 'x');
  const auto back = decode_to_member(encode(ToMember{Refuse{Code::kRefused, big}}));
  REQUIRE(back.ok());
  CHECK(std::get<Refuse>(*back).detail.size() == kMaxTextBytes);
}

TEST_CASE("the largest view that is allowed fits one message") {
  Decision d = decision();
  d.view.members.clear();
  for (std::uint32_t i = 0; i < kMaxMembers; ++i) {
    MemberInfo m = member(i);
    m.address.assign(320, 'a');  // all texts of an address at their bounds
    d.view.members.push_back(m);
  }
  const auto bytes = encode(ToMember{Install{d}});
  CHECK(bytes.size() <= kMaxControlBytes);
  CHECK(decode_to_member(bytes).ok());
}
