#include "runtime/algo/choice.h"

namespace regroup::algo {
namespace {

constexpr std::size_t kMostTogether = 8u << 20;  // of doubling and gather: they hold several whole vectors
constexpr double kWorth = 0.85;  // another form must be predicted to be so much faster: figures are rough, member order is dear

}  // namespace

bool can_take(Form form, const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules) {
  if (!has_form(form, desc)) return false;
  switch (form) {
    case Form::kDirect: return true;
    case Form::kSmall: return plan.largest_bytes <= rules.small_bytes;
    case Form::kRing: return members > 1 && plan.largest_bytes > 0 && !(rules.canonical && desc.reduces());
    case Form::kDoubling: return members > 1 && plan.largest_bytes <= kMostTogether && !rules.canonical;
    case Form::kGather: return members > 1 && members * plan.input_bytes <= kMostTogether;
    case Form::kHierarchical:
      return rules.hosts.size() == members && plan.largest_bytes > rules.small_bytes && !rules.canonical;
  }
  return false;
}

Form choose(const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules) {
  if (rules.form && can_take(*rules.form, desc, plan, members, rules)) return *rules.form;
  const Form fallback = can_take(Form::kSmall, desc, plan, members, rules) ? Form::kSmall : Form::kDirect;
  if (members < 3 && fallback == Form::kSmall) return fallback;  // there is nothing to save
  const bool passes_on = passes_prepared_on(members, rules);
  const auto predicted = [&](Form form) { return predict(form, desc, plan, members, rules.machine, passes_on).us; };
  // Partial sums of 16 bits are rounded again and again: only where they are asked for.
  const bool rounds = desc.reduces() && (desc.type == DataType::kF16 || desc.type == DataType::kBF16);
  Form best = fallback;
  double least = predicted(best);
  for (const Form form : {Form::kGather, Form::kRing, Form::kDoubling}) {  // hierarchical: where it is asked for
    if (!can_take(form, desc, plan, members, rules) || (rounds && form != Form::kGather)) continue;
    const double us = predicted(form);
    if (us < least * kWorth) best = form, least = us;
  }
  return best;
}

std::vector<std::uint32_t> leaders_of(const std::vector<std::uint32_t>& hosts) {
  std::vector<std::uint32_t> leaders;
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (hosts[i] == leaders.size()) leaders.push_back(static_cast<std::uint32_t>(i));
  return leaders;
}

bool passes_prepared_on(std::size_t members, const Rules& rules) {
  if (members < 3) return false;
  if (rules.form == Form::kDoubling || rules.form == Form::kGather) return true;
  return predict_commit(members, rules.machine, true).us < predict_commit(members, rules.machine, false).us * kWorth;
}

}  // namespace regroup::algo
