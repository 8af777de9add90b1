// Routes as pure data: all members' steps are carried out over symbols, byte by byte, links in any order (seeded), for 2 to
// 17 members. A symbol is a leaf (member, byte of its input) or the fold of two; so what is folded, how often and in
// which order is in plain sight. No executor, no transport.
#include "runtime/algo/route.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <memory>

#include "base/rng.h"

using namespace regroup;
using namespace regroup::algo;

namespace {

using Symbol = std::uint32_t;  // 0: nothing yet

struct Symbols {
  struct Node {
    Symbol left = 0, right = 0;
    std::size_t member = 0, byte = 0;
  };
  std::vector<Node> nodes{1};
  std::map<std::pair<Symbol, Symbol>, Symbol> folds;
  std::map<std::pair<std::size_t, std::size_t>, Symbol> leaves;

  Symbol leaf(std::size_t member, std::size_t byte) {
    Symbol& s = leaves[{member, byte}];
    if (s == 0) s = static_cast<Symbol>(nodes.size()), nodes.push_back({0, 0, member, byte});
    return s;
  }
  Symbol fold(Symbol a, Symbol b) {
    Symbol& s = folds[{a, b}];
    if (s == 0) s = static_cast<Symbol>(nodes.size()), nodes.push_back({a, b, 0, 0});
    return s;
  }
  // Members in the order of the fold, if every leaf is byte `byte`.
  void walk(Symbol s, std::size_t byte, std::vector<std::size_t>& members) const {
    const Node& node = nodes[s];
    if (s != 0 && node.left != 0) return walk(node.left, byte, members), walk(node.right, byte, members);
    members.push_back(s != 0 && node.byte == byte ? node.member : ~std::size_t{0});
  }
  [[nodiscard]] std::size_t depth(Symbol s) const {
    return nodes[s].left == 0 ? 0 : 1 + std::max(depth(nodes[s].left), depth(nodes[s].right));
  }
};

struct Member {
  Plan plan;
  Route route;
  std::vector<Symbol> input, output, scratch;
  std::vector<std::size_t> sent, got, made;

  std::vector<Symbol>& area(Area a) { return a == Area::kInput ? input : a == Area::kOutput ? output : scratch; }
  [[nodiscard]] std::size_t stands(const Send& s) const {
    if (s.last - s.first == 1) return made[s.first];
    for (std::uint32_t i = s.first; i < s.last; ++i)
      if (made[i] < route.takes[i].bytes) return 0;
    return s.bytes;
  }
};

struct World {
  Form form;
  std::size_t n;
  Request request;
  std::vector<Member> members;
  std::map<std::pair<std::size_t, std::size_t>, std::deque<Symbol>> links;
  Symbols symbols;
  Rng rng;
  std::string wrong;

  World(Form f, std::size_t count_of_members, Request r, std::uint64_t seed)
      : form(f), n(count_of_members), request(r), members(n), rng(seed) {
    request.members = n;
    for (std::size_t m = 0; m < n; ++m) {
      Member& who = members[m];
      request.self = m;
      make_plan(request, who.plan);
      make_route(request, who.plan, form, who.route);
      for (std::size_t k = 0; k < who.plan.input_bytes; ++k) who.input.push_back(symbols.leaf(m, k));
      who.output.assign(who.plan.output_bytes, 0);
      who.scratch.assign(who.route.scratch_bytes, 0);
      who.sent.assign(who.route.sends.size(), 0);
      who.got.assign(who.route.takes.size(), 0);
      who.made.assign(who.route.takes.size(), 0);
      for (std::size_t i = 0; i < who.route.takes.size(); ++i)
        if (who.route.takes[i].from == m) who.got[i] = who.route.takes[i].bytes;
    }
  }

  // The next send to `to` that is not through: a few bytes of it.
  bool send_some(std::size_t m, std::size_t to) {
    Member& who = members[m];
    for (std::size_t i = 0; i < who.route.sends.size(); ++i) {
      const Send& s = who.route.sends[i];
      if (s.to != to || who.sent[i] == s.bytes) continue;
      const std::size_t reach = std::min(who.stands(s), who.sent[i] + 1 + rng.below(400));
      if (reach <= who.sent[i]) return false;
      for (; who.sent[i] < reach; ++who.sent[i])
        links[{m, to}].push_back(who.area(s.from.area).at(s.from.at + who.sent[i]));
      return true;
    }
    return false;
  }
  // A byte that still has to be sent as it was before take `by` writes it.
  bool owed(const Member& who, std::size_t by, const Place& place, std::size_t at) const {
    for (std::size_t i = 0; i < who.route.sends.size(); ++i) {
      const Send& s = who.route.sends[i];
      const bool here = s.from.area == place.area && at >= s.from.at + who.sent[i] && at < s.from.at + s.bytes;
      if (here && (s.last == s.first || s.last <= by)) return true;
    }
    return false;
  }
  bool take_some(std::size_t m, std::size_t from) {
    Member& who = members[m];
    std::deque<Symbol>& link = links[{from, m}];
    for (std::size_t i = 0; i < who.route.takes.size() && !link.empty(); ++i) {
      const Arrival& t = who.route.takes[i];
      if (t.from != from || t.from == m || who.got[i] == t.bytes) continue;
      for (std::size_t more = 1 + rng.below(400); more > 0 && !link.empty() && who.got[i] < t.bytes; --more) {
        const std::size_t at = t.to.at + who.got[i]++;
        if (owed(who, i, t.to, at)) wrong = "a byte is overwritten before it was sent";
        who.area(t.to.area).at(at) = link.front();
        link.pop_front();
      }
      return true;
    }
    return false;
  }
  bool make_some(std::size_t m) {
    Member& who = members[m];
    bool any = false;
    for (std::size_t i = 0; i < who.route.takes.size(); ++i) {
      const Arrival& t = who.route.takes[i];
      std::size_t reach = who.got[i];
      if (t.needs != kNoTake) reach = std::min(reach, who.made[t.needs]);
      for (; who.made[i] < reach; ++who.made[i], any = true) {
        Symbol& to = who.area(t.to.area).at(t.to.at + who.made[i]);
        if (!t.fold && t.from != m) continue;
        const Symbol mine = who.area(t.with.area).at(t.with.at + who.made[i]);
        to = !t.fold ? mine : t.mine_first ? symbols.fold(mine, to) : symbols.fold(to, mine);
      }
    }
    return any;
  }

  // Until nothing moves. Links and members in a drawn order.
  void run() {
    for (bool moved = true; moved && wrong.empty();) {
      moved = false;
      for (std::size_t tries = 0; tries < 2 * n; ++tries) {
        const std::size_t a = rng.below(n), b = rng.below(n);
        moved |= rng.below(2) == 0 ? send_some(a, b) : take_some(a, b);
        if (rng.below(3) == 0) moved |= make_some(a);
      }
      if (moved) continue;
      for (std::size_t a = 0; a < n; ++a) {
        moved |= make_some(a);
        for (std::size_t b = 0; b < n; ++b) moved |= send_some(a, b) || take_some(b, a);
      }
    }
    for (Member& who : members) {
      if (who.made.size() != who.route.takes.size()) wrong = "?";
      for (std::size_t i = 0; i < who.route.takes.size(); ++i)
        if (who.made[i] != who.route.takes[i].bytes) wrong = "stuck";
      for (std::size_t i = 0; i < who.route.sends.size(); ++i)
        if (who.sent[i] != who.route.sends[i].bytes) wrong = "not everything was sent";
      if (who.route.gathers && wrong.empty()) make_result(who);
    }
    for (const auto& [ends, link] : links)
      if (!link.empty()) wrong = "bytes that nobody takes";
  }
  void make_result(Member& who) {
    for (const Piece& piece : who.plan.result)
      for (std::size_t k = 0; k < piece.bytes; ++k) {
        const auto input = [&](std::size_t i) { return who.scratch.at(who.route.inputs[i] + piece.at + k); };
        Symbol s = input(piece.fold ? 0 : piece.from);
        for (std::size_t i = 1; piece.fold && i < n; ++i) s = symbols.fold(s, input(i));
        who.output.at(piece.to + k) = s;
      }
  }
};

constexpr std::size_t kCounts[] = {1, 2, 63, 65, 193, 1287};
constexpr Form kRoutes[] = {Form::kRing, Form::kDoubling, Form::kGather};

// Every byte of a folded output: each member's byte once, in one order at all members.
std::string check_folds(World& w, std::size_t first_byte_of(const World&, std::size_t member)) {
  for (std::size_t m = 0; m < w.n; ++m)
    for (std::size_t k = 0; k < w.members[m].output.size(); ++k) {
      std::vector<std::size_t> order;
      const std::size_t byte = first_byte_of(w, m) + k;
      w.symbols.walk(w.members[m].output[k], byte, order);
      std::vector<std::size_t> sorted = order;
      std::sort(sorted.begin(), sorted.end());
      if (sorted.size() != w.n) return "not n contributions";
      for (std::size_t i = 0; i < w.n; ++i)
        if (sorted[i] != i) return "a contribution is missing, there twice, or of another byte";
      const bool rotated = w.form == Form::kRing;
      for (std::size_t i = 1; i < w.n; ++i)
        if (order[i] != (order[i - 1] + 1) % w.n || (!rotated && order[0] != 0)) return "another order";
    }
  return {};
}

}  // namespace

TEST_CASE("a routed all-reduce folds every contribution once, in the same order at every member, and never gets stuck") {
  for (const Form form : kRoutes)
    for (std::size_t n = 2; n <= 17; ++n)
      for (const std::size_t count : kCounts) {
        Request r;
        r.desc.kind = OpKind::kAllReduce;
        r.desc.count = count;
        World w(form, n, r, n * 1000 + count);
        w.run();
        CAPTURE(name_of(form), n, count);
        REQUIRE(w.wrong == "");
        CHECK(check_folds(w, [](const World&, std::size_t) { return std::size_t{0}; }) == "");
        for (const Member& who : w.members) {
          REQUIRE(who.output == w.members[0].output);  // the same symbols: the same bits
          CHECK(who.route.largest_bytes == w.members[0].route.largest_bytes);
          for (const Send& s : who.route.sends) CHECK(s.bytes <= who.route.largest_bytes);
        }
        // Canonical is left to right; doubling is a tree no deeper than its rounds.
        const std::size_t depth = w.symbols.depth(w.members[0].output[0]);
        std::size_t rounds = 0;
        while (std::size_t{1} << rounds < n) ++rounds;
        CHECK(depth == (form == Form::kDoubling ? rounds : n - 1));
      }
}

TEST_CASE("a routed reduce-scatter gives every member its block, folded once of all; blocks of any size") {
  for (const Form form : {Form::kRing, Form::kGather})
    for (std::size_t n = 2; n <= 17; ++n)
      for (const std::size_t count : {1u, 13u, 65u}) {
        Request r;
        r.desc.kind = OpKind::kReduceScatter;
        r.desc.count = count;
        World equal(form, n, r, n + count);
        equal.run();
        CAPTURE(name_of(form), n, count);
        REQUIRE(equal.wrong == "");
        CHECK(check_folds(equal, [](const World& w, std::size_t m) { return w.members[m].plan.reads[m].at; }) == "");
        Tables tables;
        for (std::size_t i = 0; i < n; ++i) tables.counts.push_back((i * 7 + count) % 5 * 11);
        r.desc.kind = OpKind::kReduceScatterV;
        r.tables = &tables;
        World tabled(form, n, r, n + count);
        tabled.run();
        REQUIRE(tabled.wrong == "");
        CHECK(check_folds(tabled, [](const World& w, std::size_t m) { return w.members[m].plan.reads[m].at; }) == "");
      }
}

TEST_CASE("a routed all-gather puts every member's block in its place; blocks of any size") {
  for (std::size_t n = 2; n <= 17; ++n)
    for (const std::size_t count : {0u, 1u, 13u, 65u}) {
      const auto check = [&](Form form, const Request& r, auto size) {
        World w(form, n, r, n + count);
        w.run();
        CAPTURE(name_of(form), name_of(r.desc.kind), n, count);
        REQUIRE(w.wrong == "");
        for (const Member& who : w.members) {
          std::size_t at = 0;
          bool right = true;
          for (std::size_t i = 0; i < n; ++i)
            for (std::size_t k = 0; k < size(i); ++k) right = right && who.output.at(at++) == w.symbols.leaf(i, k);
          CHECK(right);
          CHECK(at == who.output.size());
        }
      };
      Request r;
      r.desc.kind = OpKind::kAllGather;
      r.desc.count = count;
      check(Form::kRing, r, [&](std::size_t) { return count; });
      check(Form::kGather, r, [&](std::size_t) { return count; });
      Tables tables;
      for (std::size_t i = 0; i < n; ++i) tables.counts.push_back((i * 7 + count) % 5 * 11);
      r.desc.kind = OpKind::kAllGatherV;
      r.tables = &tables;
      check(Form::kRing, r, [&](std::size_t i) { return tables.counts[i]; });
    }
}

TEST_CASE("routes of doubling and gather take about log2(n) hops, one at most from member to member") {
  for (const Form form : {Form::kDoubling, Form::kGather})
    for (std::size_t n = 2; n <= 64; ++n)
      for (std::size_t self = 0; self < n; ++self) {
        Request r;
        r.desc.kind = OpKind::kAllReduce;
        r.desc.count = 3;
        r.members = n;
        r.self = self;
        Plan plan;
        Route route;
        make_plan(r, plan);
        make_route(r, plan, form, route);
        std::size_t rounds = 0;
        while (std::size_t{1} << rounds < n) ++rounds;
        std::vector<std::size_t> to, from;
        for (const Send& s : route.sends) to.push_back(s.to);
        for (const Arrival& t : route.takes)
          if (t.from != self) from.push_back(t.from);
        CHECK(route.once);
        CHECK(to.size() <= rounds + 1);
        for (auto* list : {&to, &from}) {
          std::sort(list->begin(), list->end());
          CHECK(std::adjacent_find(list->begin(), list->end()) == list->end());
        }
      }
}

TEST_CASE("hierarchical: a ring of the hosts' first members, under their own names; the others have no hops") {
  const std::vector<std::uint32_t> leaders{0, 2, 3, 7};
  Request among;
  among.desc.kind = OpKind::kAllReduce, among.desc.type = DataType::kF32, among.desc.count = 10'000;
  among.members = leaders.size();
  Request all = among;
  all.members = 9, all.leaders = &leaders;
  for (std::size_t self = 0; self < all.members; ++self) {
    all.self = self;
    Plan plan;
    Route route, ring;
    make_plan(all, plan);
    make_route(all, plan, Form::kHierarchical, route);
    const auto place = std::find(leaders.begin(), leaders.end(), self);
    if (place == leaders.end()) {
      CHECK((route.sends.empty() && route.takes.empty() && route.scratch_bytes == 0));
      continue;
    }
    among.self = static_cast<std::size_t>(place - leaders.begin());
    make_plan(among, plan);
    make_route(among, plan, Form::kRing, ring);
    REQUIRE((route.sends.size() == ring.sends.size() && route.takes.size() == ring.takes.size()));
    for (std::size_t i = 0; i < ring.sends.size(); ++i) CHECK(route.sends[i].to == leaders[ring.sends[i].to]);
    for (std::size_t i = 0; i < ring.takes.size(); ++i) CHECK(route.takes[i].from == leaders[ring.takes[i].from]);
  }
}

TEST_CASE("a ring sends 2(n-1)/n of the vector to one other member and keeps no more than the output") {
  Request r;
  r.desc.kind = OpKind::kAllReduce;
  r.desc.count = 64 * 8 * 100;
  r.members = 8;
  Plan plan;
  Route route;
  make_plan(r, plan);
  make_route(r, plan, Form::kRing, route);
  std::size_t bytes = 0;
  for (const Send& s : route.sends) {
    bytes += s.bytes;
    CHECK(s.to == 1);
  }
  CHECK(bytes == r.desc.count / 8 * 14);
  CHECK(route.scratch_bytes == 0);
  CHECK(to_text(route).find("send to 1 input") != std::string::npos);
}
