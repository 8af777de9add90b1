// regroup: the command. One file per sub-command; each adds itself to the parser and returns the exit status.
#include <CLI/CLI.hpp>

#include "tools/regroup/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"Regroup: fault-tolerant collectives. `regroup COMMAND --help` tells more."};
  app.require_subcommand(1);
  int status = 0;
  regroup::tools::add_chaos(app, status);
  regroup::tools::add_coordinator(app, status);
  regroup::tools::add_plan(app, status);
  regroup::tools::add_run(app, status);
  regroup::tools::add_status(app, status);
  regroup::tools::add_sim(app, status);
  regroup::tools::add_check(app, status);
  CLI11_PARSE(app, argc, argv);
  return status;
}
