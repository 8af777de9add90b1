// split: sub-groups are groups of their own; made for everybody or for nobody; what happens in one disturbs no other.
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

struct Part {  // what split gave one member
  Code code = Code::kOk;
  std::string detail;
  std::unique_ptr<Group> group;
};

Part split(Group& group, int color, int key, const std::function<void(Options&)>& configure = {}) {
  Result<std::unique_ptr<Group>> got = group.split(color, key, configure);
  Part part;
  part.code = got.code();
  if (got) part.group = std::move(*got);
  if (!got) part.detail = got.error().detail;
  return part;
}

std::string codes(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& p : parts) text += std::string(text.empty() ? "" : " ") + code_name(p.code);
  return text;
}

std::vector<Part> split_all(World& world, const std::vector<int>& ranks, const std::function<int(int)>& color,
                            const std::function<int(int)>& key = {}) {
  return World::each(ranks, [&](int rank) { return split(world.at(rank), color(rank), key ? key(rank) : 0); });
}

// All members of every part run `ops` ops at once; empty, or what is wrong.
std::string run_all(const std::vector<Part>& parts, OpId first, std::size_t ops = 5, std::size_t count = 3'000) {
  std::vector<int> all;
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (parts[i].group) all.push_back(static_cast<int>(i));
  const auto histories = World::each(all, [&](int i) {
    Group& group = *parts[static_cast<std::size_t>(i)].group;
    const int rank = static_cast<int>(group.id().replica);
    return run_ops(group, rank, {.count = count, .first = first, .ops = ops, .in_flight = 2});
  });
  std::map<std::string, std::vector<History>> by_group;
  for (std::size_t i = 0; i < all.size(); ++i)
    by_group[parts[static_cast<std::size_t>(all[i])].group->options().group].push_back(histories[i]);
  for (const auto& [name, list] : by_group) {
    if (std::string d = disagreement(list); !d.empty()) return name + ": " + d;
    if (list[0].back().contributors.size() != list.size()) return name + ": contributors are not its members";
  }
  return {};
}

int half(int rank) { return rank % 2; }

}  // namespace

TEST_CASE("halves are groups of their own, numbered by key, and the group that was split goes on") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4);
  REQUIRE(world.start() == "");
  const std::vector<Part> parts = split_all(world, world.ranks(), half, [](int rank) { return -rank; });
  REQUIRE(codes(parts) == "kOk kOk kOk kOk");
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    const Group& part = *parts[rank].group;
    const std::uint32_t low = rank % 2;
    CHECK(part.parent_ids() == std::vector<MemberId>{{low + 2, 0}, {low, 0}});
    CHECK(part.id() == MemberId{rank < 2 ? 1u : 0u, 0});
    CHECK(part.view().size() == 2);
    CHECK(part.view().transport == transport);
    CHECK(part.options().group == parts[low].group->options().group);
  }
  CHECK(parts[0].group->options().group != parts[1].group->options().group);
  CHECK(run_all(parts, 1) == "");
  const auto seen = World::each(world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, {.ops = 4}); });
  CHECK(disagreement(seen) == "");
  CHECK(seen[0].back().contributors.size() == 4);
}

TEST_CASE("equal keys keep the order of the group; a sub-group may have one member; of no colour there is none") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4);
  REQUIRE(world.start() == "");
  const std::vector<Part> parts = split_all(world, world.ranks(), [](int rank) {
    return rank == 0 ? 9 : rank == 2 ? Group::kNoColor : 4;
  });
  REQUIRE(codes(parts) == "kOk kOk kOk kOk");
  CHECK(parts[2].group == nullptr);
  CHECK(parts[0].group->view().size() == 1);
  CHECK(parts[1].group->id() == MemberId{0, 0});
  CHECK(parts[3].group->id() == MemberId{1, 0});
  CHECK(run_all(parts, 1) == "");
  const auto next = World::each(world.ranks(), [&](int rank) { return one_op(world.at(rank), rank, 1).code; });
  CHECK(next == std::vector<Code>(4, Code::kOk));
}

TEST_CASE("a kill inside a sub-group is its own affair: neither the others nor the group that was split see a change") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(50, 100'000);
  World world(transport, 4);
  REQUIRE(world.start() == "");
  const std::vector<Part> parts = World::each(world.ranks(), [&](int rank) {
    return split(world.at(rank), half(rank), 0, [&](Options& options) {
      if (rank == 3) options.failpoints = "after_first_chunk#3=call";
    });
  });
  REQUIRE(codes(parts) == "kOk kOk kOk kOk");
  const auto seen = World::each(world.ranks(), [&](int rank) {
    Group& group = *parts[static_cast<std::size_t>(rank)].group;
    return run_ops(group, static_cast<int>(group.id().replica), {.count = count, .ops = 8, .in_flight = 2});
  });
  CHECK(disagreement({seen[0], seen[2]}) == "");
  CHECK(disagreement({seen[1]}) == "");
  CHECK(seen[1].back().contributors == std::vector<std::uint32_t>{0});
  for (const int rank : {0, 2})
    for (const Seen& op : seen[static_cast<std::size_t>(rank)]) CHECK((op.epoch == 1 && op.attempts == 1));
  const auto after = World::each(world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, {.ops = 3}); });
  CHECK(disagreement(after) == "");
  CHECK(after[0].back().epoch == 1);
}

TEST_CASE("who dies while a group is split leaves nobody with half of it, and the survivors may split again") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "after_submit#1", "after_commit#1", "after_submit#2");
  CAPTURE(transport, point);
  World world(transport, 4, [&](int rank, Options& options) {
    if (rank == 3) options.failpoints = point + "=call";
  });
  REQUIRE(world.start() == "");
  const std::vector<Part> parts = split_all(world, world.ranks(), half);
  CHECK(codes({}) == "");
  for (const int rank : {0, 1, 2}) {
    CAPTURE(rank, parts[static_cast<std::size_t>(rank)].detail);
    CHECK(code_name(parts[static_cast<std::size_t>(rank)].code) == std::string("kViewChanged"));
    CHECK(parts[static_cast<std::size_t>(rank)].group == nullptr);
  }
  const std::vector<int> living = {0, 1, 2};
  for (const int rank : living) REQUIRE(eventually([&] { return world.at(rank).view().size() == 3; }));
  const std::vector<Part> again = split_all(world, living, half);
  REQUIRE(codes(again) == "kOk kOk kOk");
  CHECK(run_all(again, 1) == "");
  CHECK(again[1].group->view().size() == 1);
}

TEST_CASE("a caller that has not seen the new view fails the split at every member") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  world.at(1).detach();
  const std::vector<int> living = {0, 2};
  REQUIRE(eventually([&] { return world.at(0).view().size() == 2; }));
  CHECK(codes(split_all(world, living, half)) == "kViewChanged kViewChanged");
  for (const int rank : living) REQUIRE(eventually([&] { return world.at(rank).view().size() == 2; }));
  CHECK(codes(split_all(world, living, half)) == "kOk kOk");
}

TEST_CASE("what one member may not ask for fails the split at every member, and names it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const std::vector<Part> colors = split_all(world, world.ranks(), [](int rank) { return rank == 1 ? -2 : 0; });
  CHECK(codes(colors) == "kInvalid kInvalid kInvalid");
  const std::vector<Part> options = World::each(world.ranks(), [&](int rank) {
    return split(world.at(rank), 0, 0, [&](Options& o) {
      if (rank == 2) o.window = 1;
    });
  });
  CHECK(codes(options) == "kConfig kConfig kConfig");
  for (const Part& part : options) CHECK(part.detail.find("member 2") != std::string::npos);
  CHECK(codes(split_all(world, world.ranks(), half)) == "kOk kOk kOk");
}

TEST_CASE("members leave a sub-group, it may be split again, and nothing of it stays behind") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4);
  REQUIRE(world.start() == "");
  std::vector<Part> parts = split_all(world, world.ranks(), [](int rank) { return rank == 3 ? 1 : 0; });
  REQUIRE(codes(parts) == "kOk kOk kOk kOk");
  const std::vector<Part> deeper = World::each(
      {0, 1, 2}, [&](int i) { return split(*parts[static_cast<std::size_t>(i)].group, i == 1 ? 1 : 0, 0); });
  REQUIRE(codes(deeper) == "kOk kOk kOk");
  CHECK(deeper[0].group->view().size() == 2);
  CHECK(run_all(deeper, 1) == "");
  CHECK(run_all(parts, 1) == "");
  CHECK(parts[1].group->leave(kBound_s).ok());
  const auto rest = World::each({0, 2}, [&](int i) {
    Group& group = *parts[static_cast<std::size_t>(i)].group;
    return run_ops(group, static_cast<int>(group.id().replica), {.ops = 4});
  });
  CHECK(disagreement(rest) == "");
  CHECK(rest[0].back().contributors.size() == 2);
  const auto logs = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(world.folder()))
      count += entry.path().filename().string().find(".sub-") != std::string::npos;
    return count;
  };
  CHECK(logs() == 4);
  const auto left = World::each({0, 1, 2, 3, 4, 5}, [&](int i) {
    const auto at = static_cast<std::size_t>(i);
    Group& group = i < 3 ? *deeper[at].group : *parts[i == 3 ? 0 : i == 4 ? 2 : 3].group;
    return group.leave(kBound_s).code();
  });
  CHECK(left == std::vector<Code>(6, Code::kOk));
  CHECK(eventually([&] { return logs() == 0; }));
  const auto next = World::each(world.ranks(), [&](int rank) { return one_op(world.at(rank), rank, 1).code; });
  CHECK(next == std::vector<Code>(4, Code::kOk));
}

TEST_CASE("a coordinator that is started again serves the sub-groups too") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const std::vector<Part> parts = split_all(world, world.ranks(), [](int) { return 0; });
  REQUIRE(codes(parts) == "kOk kOk kOk");
  world.stop_coordinator();
  CHECK(run_all(parts, 1) == "");
  REQUIRE(world.start_coordinator().ok());
  parts[2].group->detach();
  const auto seen = World::each({0, 1}, [&](int rank) {
    History all;
    for (OpId op = 6; all.empty() || (all.back().code == Code::kOk && all.back().contributors.size() != 2); ++op)
      all.push_back(one_op(*parts[static_cast<std::size_t>(rank)].group, rank, op, 3'000));
    return all;
  });
  CHECK(disagreement(seen) == "");
}

TEST_CASE("a member that comes back to the group that was split is in no sub-group until all split again") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  std::vector<Part> parts = split_all(world, world.ranks(), [](int) { return 0; });
  REQUIRE(codes(parts) == "kOk kOk kOk");
  world.at(2).detach();
  parts[2].group->detach();
  const std::vector<int> both = {0, 1};
  const auto without = World::each(
      both, [&](int rank) { return run_ops(*parts[static_cast<std::size_t>(rank)].group, rank, {.ops = 3}); });
  CHECK(disagreement(without) == "");
  // The others go on in the group, so that there is a mark for the joiner to begin at.
  const auto back = World::each(world.ranks(), [&](int rank) {
    if (rank == 2 && !world.join(2).ok()) return std::string("could not join");
    for (OpId op = 1;; ++op) {
      const Seen seen = one_op(world.at(rank), rank, 1);
      if (seen.code != Code::kOk || !seen.wrong.empty()) return seen.detail + seen.wrong;
      if (seen.contributors.size() == 3) break;
      if (op > 100'000) return std::string("the joiner never came");
    }
    return std::string();
  });
  CHECK(back == std::vector<std::string>(3));
  const std::vector<Part> again = split_all(world, world.ranks(), [](int) { return 0; });
  REQUIRE(codes(again) == "kOk kOk kOk");
  CHECK(again[0].group->options().group != parts[0].group->options().group);
  CHECK(run_all(again, 1) == "");
  const auto old = World::each(both, [&](int rank) {
    return run_ops(*parts[static_cast<std::size_t>(rank)].group, rank, {.first = 4, .ops = 2});
  });
  CHECK(disagreement(old) == "");
  CHECK(old[0].back().contributors.size() == 2);
}
