// hello: join a group, add up one number per member, print it. Start it with `regroup run -n 4 -- build/bin/hello`.
#include <cstdio>

#include "regroup/regroup.h"

int main() {
  auto options = regroup::Options::from_environment();  // REGROUP_RANK and so on, set by `regroup run`
  if (!options.ok()) return std::fprintf(stderr, "hello: %s\n", options.error().detail.c_str()), 1;
  auto group = regroup::Group::join(std::move(options).value());
  if (!group.ok()) return std::fprintf(stderr, "hello: %s\n", group.error().detail.c_str()), 1;

  float value = static_cast<float>((*group)->id().replica + 1);
  auto outcome = (*group)->all_reduce(&value, &value, 1, regroup::DataType::kF32, regroup::ReduceOp::kSum);
  if (!outcome.ok()) return std::fprintf(stderr, "hello: %s\n", outcome.error().detail.c_str()), 1;
  std::printf("hello from member %u: the sum over %zu members is %g (epoch %llu)\n", (*group)->id().replica,
              outcome->contributors(), value, static_cast<unsigned long long>(outcome->epoch));
  return (*group)->leave().ok() ? 0 : 1;
}
