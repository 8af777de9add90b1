#include "tests/conformance/trainer.h"

namespace regroup::conformance {

void Trainer::register_in(Options& options, bool blob) {
  options.state = {{"weights", weights.data(), weights.size() * 8, DataType::kU64, {kCount}}};
  options.on_restored = [this] { ++restored; };
  options.apply = [this](std::uint64_t, std::span<const StepResult> results) -> Status {
    if (results.size() != 1 || results[0].code != Code::kOk || results[0].bytes != part * 8)
      return {Code::kInvalid, "not the results of a step"};
    update(static_cast<const std::uint64_t*>(results[0].data));
    weights[part - 1] += applies_wrongly;
    ++replayed;
    return {};
  };
  if (!blob) return;
  options.blobs = {{"cursor",
                    [this] {
                      std::vector<std::byte> bytes(8);
                      std::memcpy(bytes.data(), &cursor, 8);
                      return bytes;
                    },
                    [this](std::span<const std::byte> bytes) -> Status {
                      if (bytes.size() != 8) return {Code::kInvalid, "not a cursor"};
                      std::memcpy(&cursor, bytes.data(), 8);
                      ++loads;
                      return {};
                    }}};
}

Result<Outcome> Trainer::step(Group& group, int rank) {
  std::this_thread::sleep_for(std::chrono::milliseconds(think_ms()));  // computes
  std::vector<std::uint64_t> gradient(part);
  for (std::size_t i = 0; i < part; ++i) gradient[i] = i * (group.steps() + 1) + static_cast<std::uint64_t>(rank);
  Result<Outcome> got = group.all_reduce(gradient.data(), sum.data(), part, DataType::kU64, ReduceOp::kSum);
  if (!got) return got;
  const StateRange range{0, 0, part * 8};
  if (Status s = group.begin_update(part == kCount ? std::span<const StateRange>() : std::span(&range, 1)); !s) return s.error();
  update(sum.data());
  if (Status s = group.end_update(); !s) return s.error();
  return got;
}

std::string Trainer::run(Group& group, int rank, std::size_t full, int last, const std::atomic<bool>* stop, std::uint32_t with) {
  for (int with_all = 0, steps = 0; with_all < last; ++steps) {
    if (stop != nullptr && stop->load()) return {};
    if (steps > 20'000) return "the others never came";
    const Result<Outcome> got = step(group, rank);
    if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
    const auto& members = got->view->members;
    if (members.size() == full && std::find(members.begin(), members.end(), MemberId{with, 0}) != members.end()) ++with_all;
  }
  return {};
}

Training::Training(const std::string& transport, int size, std::uint64_t rate_, bool blob_)
    : blob(blob_), rate(rate_), world(transport, size, [this](int rank, Options& o) {
        o.catch_up_rate = rate;
        o.snapshot_bytes = snapshot_bytes;
        trainers[static_cast<std::size_t>(rank)]->register_in(o, blob);
        if (more) more(rank, o);
      }) {
  for (int i = 0; i < size; ++i) trainers.push_back(std::make_unique<Trainer>(0));
  for (auto& t : trainers) t->begin();
}

std::string Training::run_all(int last) {
  for (const std::string& r : World::each(world.ranks(), [&](int r) { return of(r).run(world.at(r), r, trainers.size(), last); }))
    if (!r.empty()) return r;
  return {};
}

void Training::renew(int rank) {
  auto& mine = trainers[static_cast<std::size_t>(rank)];
  auto fresh = std::make_unique<Trainer>(0xdead);
  fresh->part = mine->part;
  fresh->think_ms = mine->think_ms;
  mine = std::move(fresh);
}

std::string Training::lose_and_return(const std::vector<int>& ranks, int last) {
  for (const int rank : ranks) world.at(rank).detach();
  const auto full = trainers.size();
  const auto results = World::each(world.ranks(), [&](int r) -> std::string {
    if (std::find(ranks.begin(), ranks.end(), r) == ranks.end()) return of(r).run(world.at(r), r, full, last);
    renew(r);
    if (Status s = world.join(r); !s) return std::string(code_name(s.code())) + " " + s.error().detail;
    return of(r).run(world.at(r), r, full, last);
  });
  for (const std::string& r : results)
    if (!r.empty()) return r;
  return {};
}

bool Training::equal() {
  return std::all_of(trainers.begin(), trainers.end(), [&](const auto& t) { return t->weights == trainers[0]->weights; });
}

}  // namespace regroup::conformance
