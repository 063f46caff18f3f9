// Compiles a job as Flamenco's manager does:  node flamenco_manager.js SCRIPT SETTINGS.json
// Prints the tasks with the settings' defaults filled in, in the order in which they were added.
"use strict";
const fs = require("fs");
const vm = require("vm");

class Command {
    constructor(name, parameters) {
        Object.assign(this, { name, parameters });
    }
}

class Task {
    constructor(name, type) {
        Object.assign(this, { name, type, commands: [], dependencies: [] });
    }
    addCommand(command) {
        if (!(command instanceof Command)) throw new Error(`${this.name}: that is no command`);
        this.commands.push(command);
    }
    addDependency(task) {
        if (!(task instanceof Task)) throw new Error(`${this.name}: that is no task`);
        this.dependencies.push(task.name);
    }
}

// "1-4, 7" in chunks of three: ["1-3", "4,7"]
function frameChunker(frames, size) {
    const all = frames.split(",").flatMap((part) => {
        const [first, last] = part.trim().split("-").map(Number);
        return Array.from({ length: (last ?? first) - first + 1 }, (_, step) => first + step);
    });
    const chunks = [];
    for (let start = 0; start < all.length; start += size) {
        chunks.push(ranges(all.slice(start, start + size)));
    }
    return chunks;
}

function ranges(numbers) {
    const spans = [];
    for (const number of numbers) {
        const span = spans[spans.length - 1];
        if (span && span[1] === number - 1) span[1] = number;
        else spans.push([number, number]);
    }
    return spans.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

const [script, given] = process.argv.slice(2);
const author = { Task: (name, type) => new Task(name, type), Command: (name, parameters) => new Command(name, parameters) };
const world = vm.createContext({ author, frameChunker, print: console.error });
vm.runInContext(fs.readFileSync(script, "utf8"), world, { filename: script });
const type = vm.runInContext("JOB_TYPE", world);
const settings = JSON.parse(given);
for (const setting of type.settings) {
    if (!(setting.key in settings) && "default" in setting) settings[setting.key] = setting.default;
    if (setting.required && !(setting.key in settings)) throw new Error(`the setting ${setting.key} is missing`);
}
const known = new Set(type.settings.map((setting) => setting.key));
for (const key of Object.keys(settings)) if (!known.has(key)) throw new Error(`there is no setting ${key}`);
const tasks = [];
const job = { settings, addTask: (task) => tasks.push(task) };
vm.runInContext("compileJob", world)(job);
const added = new Set(tasks.map((task) => task.name));
for (const task of tasks) {
    for (const name of task.dependencies) if (!added.has(name)) throw new Error(`${task.name} waits for ${name} for ever`);
}
console.log(JSON.stringify(tasks));
