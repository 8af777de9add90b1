#include "runtime/algo/choice.h"

namespace regroup::algo {
namespace {

constexpr std::size_t kMostTogether = 8u << 20;  // of doubling and gather: they hold several whole vectors

}  // namespace

bool can_take(Form form, const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules) {
  if (!has_form(form, desc)) return false;
  switch (form) {
    case Form::kDirect: return true;
    case Form::kSmall: return plan.largest_bytes <= rules.small_bytes;
    case Form::kRing: return members > 1 && plan.largest_bytes > 0 && !(rules.canonical && desc.reduces());
    case Form::kDoubling: return members > 1 && plan.largest_bytes <= kMostTogether && !rules.canonical;
    case Form::kGather: return members > 1 && members * plan.input_bytes <= kMostTogether;
  }
  return false;
}

Form choose(const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules) {
  if (rules.form && can_take(*rules.form, desc, plan, members, rules)) return *rules.form;
  return can_take(Form::kSmall, desc, plan, members, rules) ? Form::kSmall : Form::kDirect;
}

}  // namespace regroup::algo
