#include "examples/train_digits/loop.h"

#include <cstdio>
#include <ctime>

namespace digits {
namespace {

constexpr long kMeetingPauseMs = 20;

regroup::Error at_step(std::uint64_t step, const regroup::Error& error) {
  return {error.code, "step " + std::to_string(step) + ": " + regroup::code_name(error.code) + ": " + error.detail};
}

void record_restore(Trainer& trainer, Exchange& exchange, History& history, std::uint64_t from,
                    const std::string& why) {
  history.evicted(from, why);
  history.join("restored", trainer.step(), exchange.view(), exchange.restore_s(), trainer.digest());
  std::printf("evicted at step %llu, back at step %llu\n", static_cast<unsigned long long>(from),
              static_cast<unsigned long long>(trainer.step()));
  std::fflush(stdout);
}

void pause_ms(long ms) {
  timespec ts{ms / 1000, ms % 1000 * 1'000'000};
  ::nanosleep(&ts, nullptr);
}

}  // namespace

regroup::Status train(Trainer& trainer, Exchange& exchange, History& history, std::uint64_t report_every) {
  while (!trainer.done()) {
    const std::uint64_t before = trainer.step(), step = before + 1;
    bool submitted = false;
    const double loss = trainer.gradient(exchange.slice(), exchange.buffers(), [&](std::size_t layer) {
      if (layer == 0) return;  // goes last, with the loss: it is the mark
      if (!submitted) history.submit(step);
      submitted = true;
      exchange.average(layer);  // travels while the next layer's gradient is made
    });
    exchange.loss() = static_cast<float>(loss);
    exchange.average(0);
    auto committed = exchange.finish();
    if (!committed.ok()) {
      if (committed.code() != regroup::Code::kEvicted) return at_step(step, committed.error());
      record_restore(trainer, exchange, history, before, committed.error().detail);
      continue;
    }
    exchange.begin_update();
    trainer.update(exchange.buffers(), exchange.loss());
    exchange.end_update();
    history.commit(step, *committed, trainer.digest(), exchange.loss());
    if (report_every > 0 && (step % report_every == 0 || trainer.done())) {
      std::printf("step %llu loss %.4f members %zu epoch %llu\n", static_cast<unsigned long long>(step),
                  trainer.smoothed_loss(), committed->members.size(),
                  static_cast<unsigned long long>(committed->epoch));
      std::fflush(stdout);
    }
  }
  return {};
}

regroup::Status end_together(Trainer& trainer, Exchange& exchange, History& history, std::size_t members,
                             std::uint64_t meetings) {
  const std::uint64_t last = trainer.step() + meetings;
  for (;;) {
    auto met = exchange.meet();
    if (!met.ok()) {
      if (met.code() != regroup::Code::kEvicted) return at_step(trainer.step(), met.error());
      record_restore(trainer, exchange, history, trainer.step(), met.error().detail);
      continue;
    }
    if (met->members.size() >= members || exchange.settled() >= last) return {};
    pause_ms(kMeetingPauseMs);
  }
}

}  // namespace digits
