// train_digits: one replica of the project's main job. Started by `regroup run -n 4 -- train_digits ...`, which sets
// who it is and where the coordinator is; with --alone it trains without a group.
//
// Exit status: 0 trained to the last step, 1 failed (says why), 2 wrong arguments.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "examples/train_digits/loop.h"

namespace {

struct Arguments {
  digits::TrainingPlan plan;
  std::string data;     // empty: digits.csv beside the program
  std::string history;  // empty: none
  std::uint64_t report_every = 50;
  std::uint64_t meetings = 500;
  bool alone = false;
};

int fail(digits::History& history, const std::string& text) {
  history.error(text);
  std::fprintf(stderr, "train_digits: error: %s\n", text.c_str());
  return 1;
}

std::string beside_program(const char* name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? name : (self.parent_path() / name).string();
}

int run(Arguments arguments) {
  digits::History history;
  if (arguments.data.empty()) arguments.data = beside_program("digits.csv");
  auto data = digits::load_digits(arguments.data);
  if (!data.ok()) return fail(history, data.error().detail);

  regroup::Options options;
  if (arguments.alone) {
    options.rank = 0;
    options.world_size = 1;
  } else {
    auto from_environment = regroup::Options::from_environment();
    if (!from_environment.ok()) return fail(history, from_environment.error().detail);
    options = std::move(from_environment).value();
    if (options.rank < 0 || options.world_size < 1) {
      return fail(history,
                  "no group: REGROUP_RANK and REGROUP_WORLD_SIZE are not set. Start it with "
                  "`regroup run -n 4 -- train_digits ...`, or give --alone");
    }
  }
  if (!arguments.history.empty()) {
    if (auto status = history.open(arguments.history, options.rank); !status.ok()) {
      return fail(history, status.error().detail);
    }
  }
  arguments.plan.slices = static_cast<std::size_t>(options.world_size);
  digits::Trainer trainer(*data, arguments.plan);

  options.explicit_marks = true;  // a step is three ops; the last one ends it
  options.state = trainer.state();
  options.apply = [&trainer](std::uint64_t, std::span<const regroup::StepResult> results) { return trainer.replay(results); };
  options.on_view = [&history](const regroup::ViewInfo& view) { history.view(view); };
  const auto members = static_cast<std::size_t>(options.world_size);
  std::unique_ptr<digits::Exchange> exchange;
  if (arguments.alone) {
    exchange = digits::local_exchange();
  } else {
    auto joined = digits::join_group(std::move(options));
    if (!joined.ok()) {
      return fail(history, std::string("join: ") + regroup::code_name(joined.code()) + ": " + joined.error().detail);
    }
    exchange = std::move(joined).value();
  }
  history.join("join", trainer.step(), exchange->view(), exchange->restore_s(), trainer.digest());

  auto status = digits::train(trainer, *exchange, history, arguments.report_every);
  if (status.ok()) status = digits::end_together(trainer, *exchange, history, members, arguments.meetings);
  if (!status.ok()) return fail(history, status.error().detail);
  const auto score = trainer.held_out_score();
  history.final(trainer.step(), trainer.digest(), score);
  std::printf("done: %llu steps, accuracy %.4f on %zu held-out images, digest %016llx\n",
              static_cast<unsigned long long>(trainer.step()), score.accuracy, digits::kHeldOut,
              static_cast<unsigned long long>(trainer.digest()));
  if (status = exchange->leave(); !status.ok()) return fail(history, "leave: " + status.error().detail);
  history.left();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Trains a network on handwritten digits, as one replica of a group that survives the loss of replicas"};
  app.add_option("--steps", arguments.plan.steps, "steps to train")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--seed", arguments.plan.seed, "seed of the initial network and of the sample order")
      ->capture_default_str();
  app.add_option("--batch", arguments.plan.batch, "samples per replica and step")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--learning-rate", arguments.plan.learning_rate)->check(CLI::Range(0.0, 10.0))->capture_default_str();
  app.add_option("--momentum", arguments.plan.momentum)->check(CLI::Range(0.0, 0.999))->capture_default_str();
  app.add_option("--data", arguments.data, "CSV of images (default: digits.csv beside the program)");
  app.add_option("--history", arguments.history, "folder for this worker's record, one JSON object a line");
  app.add_option("--report-every", arguments.report_every, "steps between progress lines, 0: none")
      ->capture_default_str();
  app.add_option("--end-together", arguments.meetings,
                 "meetings of 20 ms to wait behind the last step for replicas that are still coming back")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  app.add_flag("--alone", arguments.alone, "train without a group");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return run(arguments);
}
