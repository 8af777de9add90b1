#include "runtime/state/fetch_plan.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace regroup::state {

FetchPlan::FetchPlan(std::vector<std::uint32_t> stripe_bytes, std::uint32_t sources, Limits limits)
    : bytes_(std::move(stripe_bytes)), limits_(limits), stripes_(bytes_.size()), per_(sources), todo_(sources),
      to_tell_(sources), out_(sources), differs_(sources) {
  RG_CHECK(sources >= 1 && sources <= 32);
  for (StripeId i = 0; i < bytes_.size(); ++i) {
    todo_[i % sources].push_back(i);
    if (limits_.witnesses && sources > 1) to_tell_[(i + 1) % sources].push_back(i);
  }
}

void FetchPlan::known(StripeId i, std::uint64_t digest) {
  State& s = stripes_[i];
  s.held = true;
  s.from = kOlder;
  s.digest = digest;
  const Source witness = (i + 1) % static_cast<Source>(per_.size());  // who keeps its digest
  if (!limits_.witnesses || per_.size() == 1) to_tell_[witness].push_back(i);
}

std::optional<std::uint64_t> FetchPlan::digest_of(StripeId i) const {
  if (!stripes_[i].done || (stripes_[i].alone && per_.size() > 1)) return std::nullopt;
  return stripes_[i].digest;
}

// Whoever says the same as of this mark is the second that agrees; whoever does not says that it has changed.
void FetchPlan::judge_known(StripeId i) {
  State& s = stripes_[i];
  bool may_tell = false;
  for (Source other = 0; other < per_.size(); ++other) {
    const auto told = s.witnesses.find(other);
    if (told != s.witnesses.end() && told->second == s.digest && !per_[other].lost) return finish(i);
    may_tell = may_tell || (told == s.witnesses.end() && can(other, i));
  }
  if (may_tell && s.witnesses.empty()) return want_witness(i);
  s.held = s.assigned = false;
  todo_[i % per_.size()].push_back(i);
}

std::uint32_t FetchPlan::alive() const {
  return static_cast<std::uint32_t>(std::count_if(per_.begin(), per_.end(), [](const Per& p) { return !p.lost; }));
}

bool FetchPlan::can(Source source, StripeId stripe) const {
  return !per_[source].lost && (stripes_[stripe].without >> source & 1) == 0;
}

bool FetchPlan::late(Source source, Instant now) const {
  const Out& out = out_[source];
  if (out.stripes.empty() && out.digests.empty()) return false;
  const double speed = per_[source].speed;
  const double should = speed > 0 ? static_cast<double>(out.bytes) / speed * 4e9 : 0;
  return now - out.since > std::max(limits_.slow, Duration{static_cast<std::int64_t>(std::min(should, 1e18))});
}

FetchPlan::Ask FetchPlan::next(Source source, Instant now) {
  Ask ask;
  Out& out = out_[source];
  if (per_[source].lost || !out.stripes.empty() || !out.digests.empty()) return ask;
  const double speed = per_[source].speed;
  const double fair = speed > 0 ? speed * static_cast<double>(limits_.batch_time.ns) / 1e9 : 0;
  std::uint64_t bytes = 0;
  const auto room = [&] {
    return ask.stripes.size() < limits_.batch && (ask.stripes.empty() || static_cast<double>(bytes) < fair);
  };
  const auto take_from = [&](std::deque<StripeId>& list, bool back) {
    for (std::size_t looked = list.size(); looked != 0 && room(); --looked) {
      const StripeId i = back ? list.back() : list.front();
      back ? list.pop_back() : list.pop_front();
      State& s = stripes_[i];
      if (s.done || s.assigned || s.held) continue;
      if (!can(source, i)) {
        back ? list.push_front(i) : list.push_back(i);
        continue;
      }
      s.assigned = true;
      bytes += bytes_[i];
      ask.stripes.push_back(i);
    }
  };
  take_from(todo_[source], false);
  while (ask.stripes.empty()) {  // steal from who would take longest, from the end of its list
    Source victim = source;
    double longest = -1;
    for (Source other = 0; other < per_.size(); ++other) {
      if (other == source || todo_[other].empty()) continue;
      if (std::none_of(todo_[other].begin(), todo_[other].end(),
                       [&](StripeId i) { return can(source, i) && !stripes_[i].done && !stripes_[i].assigned && !stripes_[i].held; }))
        continue;
      const double left = static_cast<double>(todo_[other].size()) / (per_[other].lost ? 1e-9 : std::max(per_[other].speed, 1.0));
      if (left > longest) longest = left, victim = other;
    }
    if (victim == source) break;
    take_from(todo_[victim], true);
  }
  if (ask.stripes.empty())  // what somebody is late with: twice is better than never
    for (Source other = 0; other < per_.size() && ask.stripes.empty(); ++other)
      if (other != source && late(other, now))
        for (StripeId i : out_[other].stripes)
          if (!stripes_[i].done && !stripes_[i].held && can(source, i) && room()) bytes += bytes_[i], ask.stripes.push_back(i);
  std::deque<StripeId>& tell = to_tell_[source];
  while (!tell.empty() && ask.digests.size() < limits_.batch) {
    const StripeId i = tell.front();
    tell.pop_front();
    if (!stripes_[i].done && can(source, i) && !stripes_[i].witnesses.contains(source)) ask.digests.push_back(i);
  }
  if (ask.empty()) return ask;
  out = {ask.stripes, ask.digests, now, bytes};
  return ask;
}

void FetchPlan::answered(Source source, std::uint64_t bytes, Instant now) {
  Out& out = out_[source];
  if (bytes != 0) {
    const double took = std::max<double>(1e3, static_cast<double>((now - out.since).ns));
    const double speed = static_cast<double>(bytes) / took * 1e9;
    per_[source].speed = per_[source].speed == 0 ? speed : per_[source].speed * 0.7 + speed * 0.3;
  }
  out.since = now;
}

bool FetchPlan::arrived(Source source, StripeId i, std::uint64_t digest, Instant now) {
  if (i >= stripes_.size()) return false;
  std::erase(out_[source].stripes, i);
  out_[source].bytes -= std::min<std::uint64_t>(out_[source].bytes, bytes_[i]);
  answered(source, bytes_[i], now);
  State& s = stripes_[i];
  if (per_[source].lost || s.done) return false;
  if (s.held) {  // a second opinion
    s.witnesses[source] = digest;
    judge(i);
    return false;
  }
  s.held = true;
  s.from = source;
  s.witnesses.erase(source);  // what it said before is no second opinion
  s.digest = digest;
  per_[source].bytes += bytes_[i];
  judge(i);
  return true;
}

void FetchPlan::told(Source source, StripeId i, std::uint64_t digest, Instant now) {
  if (i >= stripes_.size()) return;
  std::erase(out_[source].digests, i);
  answered(source, 0, now);
  if (per_[source].lost || stripes_[i].done) return;
  stripes_[i].witnesses[source] = digest;
  judge(i);
}

// Two that agree are believed; who says otherwise is dropped.
void FetchPlan::judge(StripeId i) {
  State& s = stripes_[i];
  if (!s.held || s.done) return;
  if (s.from == kOlder) return judge_known(i);
  if (!limits_.witnesses || alive() <= 1) return finish(i, true);
  std::map<std::uint64_t, std::uint32_t> votes;
  votes[s.digest] = 1;
  for (const auto& [who, digest] : s.witnesses)
    if (who != s.from && !per_[who].lost) ++votes[digest];
  const auto believed = std::find_if(votes.begin(), votes.end(), [](const auto& v) { return v.second >= 2; });
  if (believed == votes.end()) {
    const std::map<Source, std::uint64_t> witnesses = s.witnesses;
    const Source from = s.from;
    want_witness(i);
    for (const auto& [who, digest] : witnesses)
      if (who != from && digest != s.digest) differ(from, who);
    return;
  }
  const std::uint64_t right = believed->first;
  std::vector<Source> wrong;
  for (const auto& [who, digest] : s.witnesses)
    if (digest != right && !per_[who].lost) wrong.push_back(who);
  if (s.digest == right) finish(i);
  else wrong.push_back(s.from);
  for (Source who : wrong) lies(who, "its stripe " + std::to_string(i) + " differs from what two others hold");
}

// Nobody can say which of the two is right, but who differs from two others is not.
void FetchPlan::differ(Source a, Source b) {
  differs_[a] |= 1u << b;
  differs_[b] |= 1u << a;
  for (const Source one : {a, b}) {
    std::uint32_t others = 0;
    for (Source other = 0; other < per_.size(); ++other) others += (differs_[one] >> other & 1) != 0 && !per_[other].lied;
    if (others >= 2) return lies(one, "it differs from what two others hold");
  }
}

void FetchPlan::lies(Source source, const std::string& why) {
  per_[source].lied = true;
  lost(source, why);
}

// Another digest is needed: of somebody who has not spoken.
void FetchPlan::want_witness(StripeId i) {
  State& s = stripes_[i];
  for (Source other = 0; other < per_.size(); ++other) {
    const auto& list = to_tell_[other];
    const auto& out = out_[other];
    if (other == s.from || !can(other, i) || s.witnesses.contains(other)) continue;
    if (std::find(list.begin(), list.end(), i) != list.end()) return;  // is going to be asked
    if (std::find(out.digests.begin(), out.digests.end(), i) != out.digests.end()) return;
  }
  for (Source step = 1; step < per_.size(); ++step) {
    const Source other = static_cast<Source>(((s.from == kOlder ? i : s.from) + step) % per_.size());
    if (can(other, i) && !s.witnesses.contains(other)) return to_tell_[other].push_back(i);
  }
  if (s.from == kOlder && can(i % static_cast<Source>(per_.size()), i)) return to_tell_[i % per_.size()].push_back(i);
  if (s.witnesses.empty() && s.from != kOlder) finish(i, true);  // nobody else has it as of the mark
}

// Its witness is late: another one, if there is one.
void FetchPlan::other_witness(StripeId i, Source late) {
  const State& s = stripes_[i];
  for (Source other = 0; other < per_.size() && !s.done; ++other) {
    if (other == late || (s.held && other == s.from) || !can(other, i) || s.witnesses.contains(other)) continue;
    auto& list = to_tell_[other];
    if (std::find(list.begin(), list.end(), i) == list.end()) list.push_back(i);
    return;
  }
}

void FetchPlan::finish(StripeId i, bool alone) {
  stripes_[i].done = true;
  stripes_[i].alone = alone;
  ++done_;
  bytes_done_ += bytes_[i];
  if (stripes_[i].from == kOlder) bytes_kept_ += bytes_[i];
}

void FetchPlan::gone(Source source, StripeId i, Instant now) {
  if (i >= stripes_.size()) return;
  State& s = stripes_[i];
  s.without |= 1u << source;
  if (std::erase(out_[source].stripes, i) != 0 && !s.done && !s.held) {
    s.assigned = false;
    todo_[source].push_back(i);
  }
  std::erase(out_[source].digests, i);
  out_[source].since = now;
  judge(i);
}

void FetchPlan::lost(Source source, const std::string& why) {
  if (per_[source].lost) return;
  per_[source].lost = true;
  per_[source].why = why;
  const Out out = std::exchange(out_[source], {});
  for (StripeId i : out.stripes)
    if (!stripes_[i].done && !stripes_[i].held) stripes_[i].assigned = false, todo_[source].push_back(i);
  to_tell_[source].clear();
  for (StripeId i = 0; i < stripes_.size(); ++i) {
    State& s = stripes_[i];
    if (s.done) continue;
    if (s.held && s.from == source) {  // unconfirmed bytes of a source that is gone: from somebody else
      s.held = s.assigned = false;
      per_[source].bytes -= std::min<std::uint64_t>(per_[source].bytes, bytes_[i]);
      todo_[source].push_back(i);
    }
    judge(i);
  }
}

void FetchPlan::tick(Instant now) {
  for (Source i = 0; i < per_.size(); ++i) {
    const Out& out = out_[i];
    if (!per_[i].lost && late(i, now))
      for (StripeId stripe : out.digests) other_witness(stripe, i);
    if (!per_[i].lost && (!out.stripes.empty() || !out.digests.empty()) && now - out.since > limits_.silent)
      lost(i, "silent for " + std::to_string(limits_.silent.ns / 1'000'000) + " ms");
  }
}

std::optional<std::string> FetchPlan::stuck() const {
  if (done()) return std::nullopt;
  std::optional<StripeId> differ_in;
  bool pending = false;  // what comes may still tell who is wrong
  if (alive() == 0) return "all sources are lost; the last: " + per_.back().why;
  for (StripeId i = 0; i < stripes_.size(); ++i) {
    const State& s = stripes_[i];
    if (s.done) continue;
    bool any = s.held || s.assigned;
    for (Source source = 0; source < per_.size(); ++source) any = any || can(source, i);
    if (!any) return "no source holds stripe " + std::to_string(i) + " as of the mark any more";
    bool undecided = s.held && !s.witnesses.empty();
    for (Source source = 0; source < per_.size() && undecided; ++source)
      undecided = source == s.from || !can(source, i) || s.witnesses.contains(source);
    if (undecided) differ_in = i;
    else pending = true;
  }
  if (differ_in && !pending) return "two sources differ in stripe " + std::to_string(*differ_in) + " and nobody can tell which is right";
  return std::nullopt;
}

}  // namespace regroup::state
