// The page's entry: styles, then the one component that holds everything.

import './styles.css';
import { mount } from 'svelte';
import App from './App.svelte';

const target = document.getElementById('page');
if (!target) throw new Error('index.html has no element #page to put the page into');

mount(App, { target });
