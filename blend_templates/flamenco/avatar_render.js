// SPDX-License-Identifier: GPL-3.0-or-later
//
// A job type for Flamenco 3: a shot with avatars, in chunks of frames. Copy this file into the folder `scripts`
// beside the Flamenco Manager. The workers' Blenders need the extension Neural Avatars, switched on.
//
// "Bake" renders the avatars alone first, all passes of a frame in one EXR file; the shot then takes them from there,
// so that machines without the renderer can render it. Whatever Flamenco gives to a worker a second time renders only
// the frames that are missing.

const JOB_TYPE = {
    label: "Avatar Render",
    description: "Render a shot with neural avatars, frame by frame, after baking the avatars by choice",
    settings: [
        { key: "frames", type: "string", required: true,
          eval: "f'{C.scene.frame_start}-{C.scene.frame_end}'",
          evalInfo: { showLinkButton: true, description: "Scene frame range" },
          description: "Frames to render, such as '47', '1-30', '3, 5-10'" },
        { key: "chunk_size", type: "int32", default: 10,
          description: "Frames that a worker renders before it asks for more", visible: "submission" },
        { key: "render_output", type: "string", subtype: "hashed_file_path", required: true,
          eval: "abspath('//frames/shot_####')",
          description: "Where the pictures go; #### is the number of the frame" },
        { key: "bake", type: "bool", default: false,
          description: "Render the avatars alone first; the shot itself then needs no renderer of avatars" },
        { key: "bake_output", type: "string", subtype: "hashed_file_path", required: true,
          eval: "abspath('//avatars/shot_####')", visible: "submission",
          description: "Where the avatars' pictures go" },
        { key: "scene", type: "string", required: true, eval: "C.scene.name", visible: "web",
          description: "The scene with the set" },
        { key: "blendfile", type: "string", required: true, visible: "web",
          description: "The file to render, where all workers find it" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const chunks = frameChunker(settings.frames, settings.chunk_size);
    const bakes = settings.bake ? chunks.map((chunk) => bakeTask(settings, chunk)) : [];
    for (const task of bakes) {
        job.addTask(task);
    }
    for (const chunk of chunks) {
        const task = renderTask(settings, chunk);
        bakes.forEach((bake) => task.addDependency(bake)); // a sequence of pictures is read as a whole
        job.addTask(task);
    }
}

function bakeTask(settings, chunk) {
    return avatarTask(settings, "bake", chunk, ["--output", settings.bake_output]);
}

function renderTask(settings, chunk) {
    const baked = settings.bake ? ["--baked", settings.bake_output] : [];
    return avatarTask(settings, "render", chunk, ["--output", settings.render_output].concat(baked));
}

// blender -b -y FILE --command avatar WORK --frames CHUNK …
function avatarTask(settings, work, chunk, more) {
    const task = author.Task(`${work}-${chunk}`, "blender");
    const frames = chunk.replaceAll(" ", "");
    task.addCommand(author.Command("blender-render", {
        exe: "{blender}",
        exeArgs: "{blenderArgs}",
        argsBefore: [],
        blendfile: settings.blendfile,
        args: ["--command", "avatar", work, "--scene", settings.scene, "--frames", frames, "--resume"].concat(more),
    }));
    return task;
}
