#include "runtime/api/split.h"

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "regroup/group.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

// What a member says in one of the two gathers.
struct Word {
  std::int64_t code = 0;   // of what I have done so far
  std::int64_t color = 0;  // these two in the first
  std::int64_t key = 0;
};
struct Words {  // lives as long as the op that may still use it
  Word mine;
  std::vector<Word> all;
};

// All-gather of `mine` among the members of the epoch that the caller of split has seen. In member order.
Result<Outcome> exchange(GroupImpl& group, const calls::Site& site, const std::shared_ptr<Words>& words,
                         bool ends_step) {
  words->all.resize(static_cast<std::size_t>(group.options().world_size));
  const calls::Uniform call{OpKind::kAllGather, &words->mine, words->all.data(), 3, DataType::kI64};
  Result<ExecOp> op = calls::make(site, call, {});
  if (!op) return op.error();
  if (!ends_step) op->desc.flags = static_cast<std::uint8_t>(op->desc.flags & ~OpDesc::kMark);
  op->keep = words;
  Result<Outcome> got = group.run(std::move(op), {});
  if (got) words->all.resize(got->contributors());
  return got;
}

// The same at every member of the colour, and never the same for another split of this or another group.
std::string name_of(const Options& parent, const Outcome& agreed, std::int64_t color) {
  const std::string what = parent.group + " log=" + std::to_string(agreed.view->log) +
                           " op=" + std::to_string(agreed.op) + " color=" + std::to_string(color);
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(wire::group_hash(what)));
  return parent.group + "/" + hash;
}

// Of a sub-group, but for its name and who I am in it.
Options child_options(GroupImpl& parent, const std::function<void(Options&)>& configure) {
  Options options = parent.options();
  options.min_members = 1;
  options.state.clear();
  options.blobs.clear();
  options.apply = nullptr;
  options.checkpoint_dir.clear();
  options.on_restored = nullptr;
  options.on_view = nullptr;
  options.failpoints.clear();
  if (configure) configure(options);
  options.coordinator = parent.coordinator();
  // The others wait for this member's word no longer than a wait is bounded.
  options.join_timeout_s = std::min(options.join_timeout_s, parent.options().wait_timeout_s / 2);
  return options;
}

// The first error that a member tells of.
Status first_error(const Words& words, const Outcome& agreed, const char* what, const std::string& mine) {
  for (std::size_t i = 0; i < words.all.size(); ++i)
    if (const auto code = static_cast<Code>(words.all[i].code); code != Code::kOk)
      return {code, "split: member " + to_string(agreed.view->members[i]) + what +
                        (i == agreed.view->self ? ": " + mine : "")};
  return {};
}

}  // namespace

Result<std::shared_ptr<GroupImpl>> split_group(GroupImpl& parent, int color, int key,
                                               const std::function<void(Options&)>& configure) {
  const calls::Site site = parent.site();
  Options options = child_options(parent, configure);
  Status mine =
      color < Group::kNoColor ? Status(Code::kInvalid, "colour " + std::to_string(color)) : options.validate();
  auto wishes = std::make_shared<Words>();
  wishes->mine = {static_cast<std::int64_t>(mine.code()), color, key};
  const Result<Outcome> agreed = exchange(parent, site, wishes, false);
  if (!agreed) return agreed.error();
  const auto detail = [&] { return mine.ok() ? std::string() : mine.error().detail; };
  if (Status s = first_error(*wishes, *agreed, " asks for what cannot be", detail()); !s) return s.error();

  std::shared_ptr<GroupImpl> child;
  if (color != Group::kNoColor) {
    std::vector<std::size_t> order;  // indices of my colour's members
    for (std::size_t i = 0; i < wishes->all.size(); ++i)
      if (wishes->all[i].color == color) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return wishes->all[a].key < wishes->all[b].key; });
    const auto self = std::find(order.begin(), order.end(), agreed->view->self);
    options.group = name_of(parent.options(), *agreed, color);
    options.rank = static_cast<int>(self - order.begin());
    options.world_size = static_cast<int>(order.size());
    if (!options.trace_file.empty()) options.trace_file += "." + options.group.substr(options.group.rfind('/') + 1);
    std::vector<MemberId> ids;
    for (const std::size_t i : order) ids.push_back(agreed->view->members[i]);
    const bool same_device = options.device == parent.options().device;
    child = std::make_shared<GroupImpl>(std::move(options), std::move(ids));
    if (same_device) child->share(parent.device(), parent.device_stalls());
    // Whoever dies meanwhile is waited for in vain; the second gather then fails at everybody.
    mine = child->start([&] {
      Engine& engine = parent.engine();
      return engine.snapshot().epoch != agreed->epoch || engine.wait_installed(now()) != Engine::Life::kActive;
    });
  }
  auto codes = std::make_shared<Words>();
  codes->mine.code = static_cast<std::int64_t>(mine.code());
  const Result<Outcome> done = exchange(parent, site, codes, true);
  const Status all =
      done ? first_error(*codes, *done, " could not join its sub-group", detail()) : Status(done.error());
  if (all.ok()) return child;
  if (child) child->close(true);
  return all.error();
}

}  // namespace regroup
