// The npm package `eventsource`.
"use strict";

const { follow } = require("./follow.cjs");
const { EventSource } = require("eventsource");
const { dependencies } = require("./package.json");

follow(EventSource, "npm eventsource", dependencies.eventsource, process.argv[2]);
